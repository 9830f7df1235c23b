/** Style of the analysis pages, after the style sheet that all reports share. */
export const analysisStyle = `
:root{--h0:#fff;--h1:#d7e3f7;--h2:#8fb2ea;--h3:#2563c9;--negative:#c02c5c;--positive:#2563c9;--path:#d9622b}
@media (prefers-color-scheme:dark){:root{--h0:#1a1e25;--h1:#22314c;--h2:#3d66ad;--h3:#6ea0ff;--negative:#ff7da3;--positive:#6ea0ff;--path:#ffb26e}}
.prose td:not(:first-child){white-space:normal}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:14px 24px;margin:0 0 4px;padding:0;list-style:none}
.facts b{display:block;font-size:22px;font-weight:650;letter-spacing:-.01em;font-variant-numeric:tabular-nums;line-height:1.3}
.facts span{color:var(--ink-2);font-size:13px}
.verdict{font-size:17px;margin:0 0 14px}
.failed{border-left:3px solid var(--negative);padding:2px 0 2px 12px;color:var(--ink-2);margin:10px 0 0}
.bar{fill:var(--s0);fill-opacity:.55}
.bar.minus{fill:var(--negative)}
.whisker{stroke:var(--ink);stroke-width:1.2;opacity:.75}
.axis{stroke:var(--ink-2);stroke-width:1;opacity:.6}
.isoline{fill:none;stroke:var(--ink);stroke-width:.5;opacity:.25}
.path{fill:none;stroke:var(--path);stroke-width:2;stroke-linejoin:round}
.cell{fill:var(--s0)}
.cell.k1{fill:var(--s1)}.cell.k2{fill:var(--s2)}.cell.k3{fill:var(--s3)}
.frame{fill:none;stroke:var(--rule);stroke-width:1}
.split{stroke:var(--ink-2);stroke-width:.6;stroke-dasharray:2 3;opacity:.5}
svg rect.bar{shape-rendering:geometricPrecision}
.scale{display:flex;align-items:center;gap:8px;font-size:12px;color:var(--ink-2);margin:4px 0 0 62px;font-variant-numeric:tabular-nums}
.scale div{display:flex;flex:0 1 260px;border-radius:3px;overflow:hidden}
.scale div span{flex:1;height:10px}
.scale em{font-style:normal;margin-left:4px}
h3{font-size:14px;margin:18px 0 8px}
.charts h3{margin-top:0}
.single{max-width:640px}
.note+.legend,.note+.charts,.charts+.scroll{margin-top:16px}
.charts+.note{margin-top:14px}
`;
