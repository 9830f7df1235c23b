/**
 * Records of a delimited text file, one at a time, with the line they start on.
 *
 * Comma, semicolon and tab files are parsed as RFC 4180 (quotes, quoted line ends) by csv-parse; files whose columns
 * are set apart by runs of blanks are split here. Gzipped files are unpacked on the way, up to a bound.
 */
import { Readable } from 'node:stream';
import { CsvError, parse } from 'csv-parse';
import { DeepHessianError } from '../errors.js';
import { badFile, openBytes } from './bytes.js';

/** 'blanks': one or more spaces and tabs. */
export type Delimiter = ',' | ';' | '\t' | '|' | 'blanks';

export interface TextRecord {
  cells: string[];
  /** Line of the file, from 1, on which the record ends. */
  line: number;
}

export interface RecordOptions {
  /** Default: found out from the first record (by {@link detectDelimiter}). */
  delimiter?: Delimiter;
  /** Lines to leave out at the beginning. */
  skipRows: number;
  /** Lines that begin with this are left out. */
  comment?: string;
  /** Bound on the bytes after unpacking. */
  maxBytes: number;
}

const longestRecord = 1 << 24;
const number = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;

/** A decimal number as written in a table; `null` for anything else ('0x1f', '1,5', 'inf', ''). */
export function parseNumber(text: string): number | null {
  return number.test(text) ? Number(text) : null;
}

/**
 * The delimiter of a first line: tab in a `.tsv` or `.tab` file; else blanks when the line is two or more numbers
 * apart by blanks only; else the one of comma, semicolon, tab and bar that occurs most outside quotes; else comma.
 */
export function detectDelimiter(path: string, line: string): Delimiter {
  if (/\.(tsv|tab)(\.gz)?$/i.test(path)) return '\t';
  const words = line.trim().split(/[ \t]+/);
  if (words.length > 1 && words.every((word) => parseNumber(word) !== null)) return 'blanks';
  const bare = line.replace(/"[^"]*"/g, '');
  let best: Delimiter = ',';
  let most = 0;
  for (const candidate of [',', ';', '\t', '|'] as const) {
    const count = bare.split(candidate).length - 1;
    if (count > most) [best, most] = [candidate, count];
  }
  return best;
}

/** Opens a file and finds its delimiter; `records` may be gone through once. */
export async function openRecords(
  path: string,
  options: RecordOptions,
): Promise<{ delimiter: Delimiter; records: AsyncGenerator<TextRecord, void, undefined> }> {
  const { chunks } = await openBytes(path, options.maxBytes);
  const lines = decodeLines(path, chunks);
  // Lines are looked at until the first that counts, then handed to the parser again.
  const held: string[] = [];
  let skipped = 0;
  let delimiter = options.delimiter;
  try {
    for (; skipped < options.skipRows; skipped++) {
      const { done } = await lines.next();
      if (done) throw badFile(path, `more than ${options.skipRows} lines`, `${skipped}`);
    }
    while (delimiter === undefined) {
      const { value, done } = await lines.next();
      if (done) break;
      held.push(value);
      const text = value.trim();
      if (text !== '' && !(options.comment && text.startsWith(options.comment)))
        delimiter = detectDelimiter(path, value);
    }
  } catch (error) {
    await lines.return();
    throw error;
  }
  delimiter ??= ',';
  const rest = joined(held, lines);
  const records =
    delimiter === 'blanks'
      ? blankRecords(path, rest, skipped, options.comment)
      : delimitedRecords(path, rest, skipped, delimiter, options.comment);
  return { delimiter, records };
}

/** Text lines, without their ends (LF or CR LF), a byte order mark removed. */
async function* decodeLines(
  path: string,
  chunks: AsyncGenerator<Uint8Array, void, undefined>,
): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let line = 0;
  // Pieces of the line that is not ended yet: joined once, so that a long line costs its length and not its square.
  let pieces: string[] = [];
  let length = 0;
  const finish = (last: string): string => {
    line++;
    const text = pieces.length === 0 ? last : pieces.join('') + last;
    pieces = [];
    length = 0;
    if (text.includes('\0')) throw badFile(path, 'text', `a zero byte in line ${line}`);
    return text.endsWith('\r') ? text.slice(0, -1) : text;
  };
  const decode = (chunk?: Uint8Array): string => {
    try {
      return chunk ? decoder.decode(chunk, { stream: true }) : decoder.decode();
    } catch (error) {
      throw badFile(path, 'text in UTF-8', `other bytes after line ${line}`, error);
    }
  };
  for await (const chunk of chunks) {
    const lines = decode(chunk).split('\n');
    for (let i = 0; i < lines.length - 1; i++) yield finish(lines[i]);
    pieces.push(lines[lines.length - 1]);
    length += lines[lines.length - 1].length;
    if (length > longestRecord) {
      throw badFile(path, `lines of at most ${longestRecord} characters`, `a longer one after line ${line}`);
    }
  }
  const last = finish(decode());
  if (last !== '') yield last;
}

async function* joined(
  held: string[],
  rest: AsyncGenerator<string, void, undefined>,
): AsyncGenerator<string, void, undefined> {
  try {
    yield* held;
    yield* rest;
  } finally {
    await rest.return();
  }
}

/** Lines that end in a carriage return alone come here as one. */
function checkLineEnd(path: string, text: string, line: number): void {
  if (text.includes('\r'))
    throw badFile(path, 'lines that end in LF or CR LF', `a carriage return alone inside line ${line}`);
}

async function* blankRecords(
  path: string,
  lines: AsyncGenerator<string, void, undefined>,
  skipped: number,
  comment: string | undefined,
): AsyncGenerator<TextRecord, void, undefined> {
  let line = skipped;
  for await (const text of lines) {
    line++;
    const trimmed = text.trim();
    if (trimmed === '' || (comment && trimmed.startsWith(comment))) continue;
    checkLineEnd(path, trimmed, line);
    yield { cells: trimmed.split(/[ \t]+/), line };
  }
}

/**
 * Comma-like files. Lines without a quote are split here, which is several times faster; from the first line that has
 * one, the rest of the file goes through csv-parse.
 */
async function* delimitedRecords(
  path: string,
  lines: AsyncGenerator<string, void, undefined>,
  skipped: number,
  delimiter: string,
  comment: string | undefined,
): AsyncGenerator<TextRecord, void, undefined> {
  let line = skipped;
  try {
    for (;;) {
      const { value: text, done } = await lines.next();
      if (done) return;
      if (text.includes('"')) {
        yield* quotedRecords(path, joined([text], lines), line, delimiter, comment);
        return;
      }
      line++;
      if (text.trim() === '' || (comment && text.trimStart().startsWith(comment))) continue;
      checkLineEnd(path, text, line);
      const cells = text.split(delimiter);
      for (let i = 0; i < cells.length; i++) cells[i] = cells[i].trim();
      yield { cells, line };
    }
  } finally {
    await lines.return();
  }
}

async function* quotedRecords(
  path: string,
  lines: AsyncGenerator<string, void, undefined>,
  skipped: number,
  delimiter: string,
  comment: string | undefined,
): AsyncGenerator<TextRecord, void, undefined> {
  const tab = delimiter === '\t';
  const parser = parse({
    delimiter,
    trim: !tab,
    relax_column_count: true,
    skip_empty_lines: true,
    skip_records_with_empty_values: false,
    info: true,
    max_record_size: longestRecord,
    record_delimiter: '\n',
    ...(comment ? { comment, comment_no_infix: true } : {}),
  });
  const source = Readable.from(blocks(lines));
  source.on('error', (error) => parser.destroy(error));
  source.pipe(parser);
  try {
    for await (const item of parser as AsyncIterable<{ record: string[]; info: { lines: number } }>) {
      const cells = tab ? item.record.map((cell) => cell.trim()) : item.record;
      yield { cells, line: skipped + item.info.lines };
    }
  } catch (error) {
    if (error instanceof DeepHessianError || !(error instanceof CsvError)) throw error;
    const at = (error as CsvError & { lines?: number }).lines;
    throw badFile(path, 'well-formed CSV', `${error.message}${at ? ` (file line ${skipped + at})` : ''}`, error);
  } finally {
    source.destroy();
    parser.destroy();
  }
}

/** Lines joined to blocks: one write a line would cost more than the parsing. */
async function* blocks(lines: AsyncGenerator<string, void, undefined>): AsyncGenerator<string, void, undefined> {
  let block = '';
  for await (const line of lines) {
    block += line + '\n';
    if (block.length > 1 << 16) {
      yield block;
      block = '';
    }
  }
  if (block !== '') yield block;
}
