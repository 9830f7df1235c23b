/** Style sheet of the reports: one set of names, two sets of colours. */
export const pageStyle = `
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1b1f26;--ink-2:#5d6675;--rule:#e2e6ec;--grid:#e8ebf0;--best:#eaf4ee;
--s0:#2563c9;--s1:#d9622b;--s2:#1f8a5b;--s3:#8b4cc4;--s4:#c02c5c;--s5:#0e8a9c;--s6:#8a6d1b;--s7:#5b6472}
@media (prefers-color-scheme:dark){:root{--page:#12151a;--card:#1a1e25;--ink:#e8ebf0;--ink-2:#9aa4b3;--rule:#2b313b;--grid:#272d36;--best:#1b2f27;
--s0:#6ea0ff;--s1:#ff9460;--s2:#5ccf9a;--s3:#c394f2;--s4:#ff7da3;--s5:#54cfe0;--s6:#d9b95a;--s7:#a4aebd}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main{max-width:1240px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:26px;line-height:1.2;margin:0 0 6px;letter-spacing:-.01em}
h2{font-size:16px;margin:0 0 12px}
header p{margin:0 0 24px;color:var(--ink-2)}
section{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:18px 20px 20px;margin-bottom:18px}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:7px 14px 7px 0;text-align:left;white-space:nowrap;border-bottom:1px solid var(--rule)}
th{font-weight:600;font-size:13px;color:var(--ink-2)}
tr:last-child td{border-bottom:0}
.number{text-align:right}
.number+:not(.number){padding-left:18px}
.best td{background:var(--best);font-weight:600}
td:first-child,th:first-child{padding-left:10px}
.note,.empty{color:var(--ink-2);font-size:13.5px;margin:12px 0 0;max-width:85ch}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr));gap:22px}
figure{margin:0}
figcaption{font-weight:600;font-size:14px;margin-bottom:4px}
svg{display:block;width:100%;height:auto}
.grid{stroke:var(--grid);stroke-width:1}
.tick{fill:var(--ink-2);font-size:11px;font-variant-numeric:tabular-nums}
.label{fill:var(--ink-2);font-size:12px}
.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.faint{stroke-width:1;opacity:.3}
.dots{fill:none;stroke-width:4;stroke-linecap:round;opacity:.65}
.diagonal{stroke:var(--ink-2);stroke-width:1;stroke-dasharray:4 4}
.charts>figure:only-child{max-width:600px}
.confusion{width:auto;font-size:13px}
.confusion th,.confusion td{padding:5px 9px;text-align:right;border:1px solid var(--rule)}
.confusion tbody th{text-align:right}
.confusion td.hit{font-weight:600}
.confusion .axis{text-align:center}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:6px 20px;margin:0 0 14px;padding:0;font-size:14px}
.legend span{display:inline-block;width:18px;height:3px;border-radius:2px;margin-right:8px;vertical-align:middle}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(250px,1fr));gap:0 28px;margin:0;font-size:14px}
dl div{display:flex;justify-content:space-between;gap:14px;border-bottom:1px solid var(--rule);padding:5px 0;min-width:0}
dt{color:var(--ink-2);white-space:nowrap}
dd{margin:0;text-align:right;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
details summary{cursor:pointer;color:var(--ink-2);margin-bottom:8px}
@media print{body{background:#fff}section{break-inside:avoid}}
`;
