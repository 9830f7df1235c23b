/** Every relative link of every Markdown file leads to a file that exists, and every anchor to a heading in it. */
import { expect } from 'chai';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
/** Built, installed or written by runs. */
const skipped = new Set(['node_modules', 'dist', 'build', 'build-gyp', 'build-release', 'prebuilds', 'runs', 'site']);

function markdownFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return entry.name.startsWith('.') || skipped.has(entry.name) ? [] : markdownFiles(path);
    return entry.name.endsWith('.md') ? [path] : [];
  });
}

/** The text with fenced code, code spans and comments blanked out: what looks like a link there is none. */
function prose(text: string): string {
  return text
    .replace(/^(```|~~~)[\s\S]*?^\1.*$/gm, '')
    .replace(/<!--[\s\S]*?-->/g, '')
    .replace(/`[^`\n]*`/g, (span) => (span.includes('](') ? '' : span));
}

/** Targets of inline links, images, reference definitions and href/src of HTML. */
function linksOf(text: string): string[] {
  const inline = /\]\(\s*<?([^)\s>]+)>?(?:\s+["'][^)]*["'])?\s*\)/g;
  const definition = /^\s{0,3}\[[^\]]+\]:\s*<?(\S+?)>?\s*(?:["'].*)?$/gm;
  const html = /\b(?:href|src)="([^"]+)"/g;
  const cleaned = prose(text);
  return [inline, definition, html].flatMap((pattern) => Array.from(cleaned.matchAll(pattern), (match) => match[1]));
}

/** Anchors of the headings, as code hosts make them: lower case, punctuation dropped, spaces as hyphens, repeats numbered. */
function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>();
  const seen = new Map<string, number>();
  const withoutFences = text.replace(/^(```|~~~)[\s\S]*?^\1.*$/gm, '');
  for (const [, heading] of withoutFences.matchAll(/^#{1,6}\s+(.+?)\s*#*$/gm)) {
    const slug = heading
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-');
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    anchors.add(count === 0 ? slug : `${slug}-${count}`);
  }
  for (const [, id] of withoutFences.matchAll(/\b(?:id|name)="([^"]+)"/g)) anchors.add(id);
  return anchors;
}

/** What is wrong with the links of one file's text. */
function brokenLinks(file: string, text: string): string[] {
  return linksOf(text).flatMap((link) => {
    if (/^[a-z][a-z+.-]*:/i.test(link) || link.startsWith('//')) return [];
    const [path, anchor] = decodeURIComponent(link).split('#', 2);
    const target = path === '' ? file : resolve(dirname(file), path);
    const place = `${relative(root, file)}: ${link}`;
    if (!existsSync(target)) return [`${place} does not exist`];
    if (relative(root, target).startsWith('..')) return [`${place} leaves the project`];
    if (anchor === undefined || anchor === '' || !target.endsWith('.md') || statSync(target).isDirectory()) return [];
    const content = target === file ? text : readFileSync(target, 'utf8');
    return anchorsOf(content).has(anchor) ? [] : [`${place}: no such heading`];
  });
}

describe('Markdown', () => {
  const files = markdownFiles(root);

  it('has only links that lead somewhere', () => {
    expect(files.map((file) => relative(root, file))).to.include.members(['README.md', 'CONTRIBUTING.md']);
    expect(files.flatMap((file) => brokenLinks(file, readFileSync(file, 'utf8')))).to.deep.equal([]);
  });

  it('would notice a broken link', () => {
    const file = join(root, 'README.md');
    const text = [
      '# One thing: `code` & more',
      '[a](#one-thing-code--more) [b](#elsewhere) [c](CHANGELOG.md) [d](nowhere.md "title") ![e](docs/none.svg)',
      '[f](https://example.org/x) [g][ref] `[h](code.md)` [i](../outside.md)',
      '',
      '[ref]: missing.md',
      '```',
      '[j](fenced.md)',
      '```',
    ].join('\n');
    expect(brokenLinks(file, text).map((line) => line.replace('README.md: ', ''))).to.deep.equal([
      '#elsewhere: no such heading',
      'nowhere.md does not exist',
      'docs/none.svg does not exist',
      '../outside.md does not exist',
      'missing.md does not exist',
    ]);
  });
});
