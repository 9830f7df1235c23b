/**
 * Rows of a table as an earlier table was read, with its columns (found by name), categories and means: test sets, and rows that a
 * trained network is to be used on. The rows pass through one chunk at a time.
 */
import { checkOneOf, failRange } from '../checks.js';
import { DeepHessianError } from '../errors.js';
import { badFile } from './bytes.js';
import { openRecords, parseNumber, type Delimiter, type TextRecord } from './csv-records.js';
import type { RowChunk } from './row-chunks.js';

/** One column of a table that was read, as plain JSON data. */
export interface CsvColumn {
  /** Of the header; 'column0', 'column1', .. without one. */
  name: string;
  /** Place in a record, from 0. */
  index: number;
  /** Sorted categories of a text column; `null` for numbers. */
  categories: string[] | null;
  /** Mean of each input column that this column gives (one, or one a category). */
  means: number[];
}

/** How a table was read: keep it with a model to read other tables in the same way. Plain JSON data. */
export interface CsvSchema {
  /** What sets the cells of a record apart. */
  delimiter: Delimiter;
  /** Whether the first record holds names. */
  header: boolean;
  /** Lines before the first record. */
  skipRows: number;
  /** Cells of a record. */
  columns: number;
  /** What the targets are. */
  task: 'classification' | 'regression';
  /** Columns that a network predicts from. */
  inputs: CsvColumn[];
  /** Columns that it predicts. */
  targets: CsvColumn[];
}

/** Texts that count as an empty cell. */
export const defaultMissing: readonly string[] = ['', '?', 'NA', 'N/A', 'NaN', 'nan', 'null', 'NULL'];

/** What an empty cell does: see CsvOptions. */
export type MissingPolicy = 'error' | 'drop' | 'mean';

/** Names of the inputs that the columns give: a text column gives one a category, 'colour=red'. */
export function spreadNames(inputs: readonly CsvColumn[]): string[] {
  return inputs.flatMap(({ name, categories }) => categories?.map((text) => `${name}=${text}`) ?? [name]);
}

/** Complains about the cell of a column. */
type Fail = (column: CsvColumn, expected: string, found: string) => never;

const shown = (text: string): string => `"${text.length > 40 ? `${text.slice(0, 40)}..` : text}"`;

/** The number of a cell. */
export function readNumber(text: string, fail: (expected: string, found: string) => never): number {
  const value = parseNumber(text);
  if (value === null) fail('a number', shown(text));
  if (!Number.isFinite(value)) fail('a finite number', shown(text));
  return value;
}

/** Cells to inputs and targets. */
export class RowEncoder {
  /** Inputs that a row gives. */
  readonly features: number;
  private readonly codes: ReadonlyMap<CsvColumn, ReadonlyMap<string, number>>;
  private readonly isMissing: ReadonlySet<string>;

  constructor(
    private readonly schema: CsvSchema,
    private readonly missing: MissingPolicy = 'error',
    missingValues: readonly string[] = defaultMissing,
  ) {
    this.features = schema.inputs.reduce((sum, { categories }) => sum + (categories?.length ?? 1), 0);
    this.codes = new Map(
      [...schema.inputs, ...schema.targets].map((column) => [
        column,
        new Map((column.categories ?? []).map((text, k) => [text, k])),
      ]),
    );
    this.isMissing = new Set(missingValues);
  }

  /**
   * The inputs of a row, written to `out` at `at`.
   *
   * @param cell text of a column
   * @returns the column whose cell is empty where its row is to be left out, else null
   */
  inputs(cell: (column: CsvColumn, c: number) => string, out: Float64Array, at: number, fail: Fail): CsvColumn | null {
    out.fill(0, at, at + this.features);
    for (const [c, column] of this.schema.inputs.entries()) {
      const text = cell(column, c);
      const span = column.categories?.length ?? 1;
      if (this.isMissing.has(text)) {
        if (this.missing === 'drop') return column;
        if (this.missing === 'error') fail(column, 'a value', emptyCell(text, false));
        for (let k = 0; k < span; k++) out[at + k] = column.means[k];
      } else if (column.categories !== null) out[at + this.code(column, text, fail)] = 1;
      else out[at] = readNumber(text, (expected, found) => fail(column, expected, found));
      at += span;
    }
    return null;
  }

  /**
   * The targets of a row, written to `out` at `at`: the class index, or the values.
   *
   * @returns the column whose cell is empty, or null
   */
  targets(
    cell: (column: CsvColumn, c: number) => string,
    out: Int32Array | Float64Array,
    at: number,
    fail: Fail,
  ): CsvColumn | null {
    for (const [c, column] of this.schema.targets.entries()) {
      const text = cell(column, c);
      if (this.isMissing.has(text)) return column;
      out[at + c] =
        column.categories !== null
          ? this.code(column, text, fail)
          : readNumber(text, (expected, found) => fail(column, expected, found));
    }
    return null;
  }

  private code(column: CsvColumn, text: string, fail: Fail): number {
    const known = this.codes.get(column)?.get(text);
    if (known !== undefined) return known;
    const categories = column.categories ?? [];
    const list = categories.slice(0, 10).join(', ') + (categories.length > 10 ? ', ..' : '');
    return fail(column, `one of the categories trained on (${list})`, shown(text));
  }
}

/** What an empty cell was found to be, and what lets it pass, for programs and on the command line. A target has no mean to stand for it. */
export function emptyCell(text: string, target: boolean): string {
  const ways = target ? "missing: 'drop', --missing drop," : "missing: 'drop' or 'mean', --missing drop or mean,";
  return `an empty cell${text === '' ? '' : ` ${shown(text)}`} (${ways} lets it pass)`;
}

/** Options of {@link openTable}. */
export interface TableOptions {
  /** Default: that of the schema. */
  delimiter?: Delimiter;
  /** Default: that of the schema. */
  skipRows?: number;
  /** Lines that begin with this text are left out. Default: none. */
  comment?: string;
  /** What an empty cell of an input does. Default 'error'. */
  missing?: MissingPolicy;
  /** Texts that count as empty. Default {@link defaultMissing}. */
  missingValues?: readonly string[];
  /**
   * 'require': the target columns are there, and an empty cell among them is an error (or drops its row, as `missing` says);
   * 'use' (default): they may be absent, as may single cells; 'ignore': they are not looked at.
   */
  targets?: 'require' | 'use' | 'ignore';
  /** A row that cannot be read (a text for a number, an unknown category, cells too many) is an error (default), or left out. */
  broken?: 'fail' | 'skip';
  /** Columns whose texts go with the rows as keys, by name or number. */
  keep?: readonly string[];
  /** At most this many rows with inputs. Default: all. */
  limit?: number;
  /** Rows with inputs in a chunk. Default 1024. */
  chunk?: number;
  /** Bound on the size after unpacking, in bytes. Default: none, since only a chunk is in memory. */
  maxBytes?: number;
}

/** A table whose header has been read. */
export interface OpenTable {
  /** Inputs of a row. */
  features: number;
  /** Whether the target columns are there and looked at. */
  hasTargets: boolean;
  /** Names of the columns kept as keys. */
  keys: string[];
  /** Names of the columns that are not used. */
  ignored: string[];
  /** The rows; may be gone through once. */
  chunks: AsyncGenerator<RowChunk, void, undefined>;
}

/** Rows of a chunk where most of them are left out. */
const mostRows = 1 << 16;

/**
 * Opens a CSV or TSV file (gzipped too) to be read as an earlier one was.
 *
 * Columns are found by their names, in any order; without a header by their place, and targets that come last may then be absent.
 *
 * @throws DeepHessianError 'bad-file' naming file, line and column; 'io' for a missing file
 */
export async function openTable(path: string, schema: CsvSchema, options: TableOptions = {}): Promise<OpenTable> {
  const operation = 'openTable';
  const { missing = 'error', targets = 'use', broken = 'fail', chunk: size = 1024 } = options;
  checkOneOf(operation, 'missing', missing, ['error', 'drop', 'mean'] as const);
  const { records } = await openRecords(path, {
    delimiter: options.delimiter ?? schema.delimiter,
    skipRows: options.skipRows ?? schema.skipRows,
    comment: options.comment,
    maxBytes: options.maxBytes ?? Number.MAX_SAFE_INTEGER,
  });
  try {
    const { value: first, done } = await records.next();
    if (done) throw badFile(path, 'at least one record', 'none');
    const layout = schema.header ? byName(path, schema, first, targets) : byPlace(path, schema, first, targets);
    const encoder = new RowEncoder(schema, missing, options.missingValues);
    const keep = (options.keep ?? []).map((name) => keptColumn(name, layout.names));
    const used = new Set([...layout.inputs, ...layout.targets, ...keep]);
    return {
      features: encoder.features,
      hasTargets: layout.targets.length > 0,
      keys: keep.map((at) => layout.names[at]),
      ignored: schema.header ? layout.names.filter((_, at) => !used.has(at)) : [],
      chunks: readChunks(path, records, schema.header ? null : first, {
        schema,
        encoder,
        layout,
        keep,
        required: targets === 'require',
        drop: missing === 'drop',
        skip: broken === 'skip',
        size,
        limit: options.limit ?? Infinity,
      }),
    };
  } catch (error) {
    await records.return();
    throw error;
  }
}

/** Where the columns of the schema are in this file. */
interface Layout {
  names: string[];
  inputs: number[];
  /** Empty where the targets are absent or not looked at. */
  targets: number[];
}

function byName(path: string, schema: CsvSchema, first: TextRecord, targets: TableOptions['targets']): Layout {
  const names = first.cells.map((cell) => cell.trim());
  const place = ({ name }: CsvColumn): number => {
    const at = names.indexOf(name);
    if (at >= 0 && names.includes(name, at + 1))
      throw badFile(`${path}, line ${first.line}`, `one column '${name}'`, 'more than one');
    return at;
  };
  const inputs = schema.inputs.map(place);
  const found = targets === 'ignore' ? [] : schema.targets.map(place);
  const required = targets === 'require' ? [...schema.inputs, ...schema.targets] : schema.inputs;
  const absent = required.filter((_, c) => [...inputs, ...found][c] < 0).map(({ name }) => `'${name}'`);
  if (absent.length > 0) {
    const list = names.slice(0, 20).join(', ') + (names.length > 20 ? ', ..' : '');
    const hint = names.length === 1 && /[,;\t|]/.test(list) ? ' (--delimiter says what sets columns apart)' : '';
    throw badFile(
      `${path}, line ${first.line}`,
      `the column${absent.length > 1 ? 's' : ''} ${absent.slice(0, 20).join(', ')}${absent.length > 20 ? ', ..' : ''}`,
      list + hint,
    );
  }
  return { names, inputs, targets: found.includes(-1) ? [] : found };
}

function byPlace(
  path: string,
  schema: CsvSchema,
  { cells, line }: TextRecord,
  targets: TableOptions['targets'],
): Layout {
  const inputs = schema.inputs.map(({ index }) => index);
  const places = schema.targets.map(({ index }) => index);
  const without = schema.columns - places.length;
  // Targets that come last may be absent: the other columns are where they were.
  const absent = targets !== 'require' && cells.length === without && places.every((index) => index >= without);
  if (!absent && cells.length !== schema.columns) {
    const last = targets !== 'require' && places.every((index) => index >= without);
    throw badFile(
      `${path}, line ${line}`,
      `${schema.columns} columns${last ? `, or ${without} without the targets` : ''} (there is no header)`,
      String(cells.length),
    );
  }
  return {
    names: cells.map((_, at) => `column${at}`),
    inputs,
    targets: absent || targets === 'ignore' ? [] : places,
  };
}

/** A column by its name, or by its number where no column has that name. */
function keptColumn(reference: string, names: readonly string[]): number {
  const at = names.indexOf(reference);
  if (at >= 0) return at;
  const number = /^-?\d+$/.test(reference) ? Number(reference) : NaN;
  const place = number < 0 ? names.length + number : number;
  if (place >= 0 && place < names.length) return place;
  const list = names.slice(0, 20).join(', ') + (names.length > 20 ? ', ..' : '');
  failRange('openTable', 'keep (--keep)', `columns among ${list}`, reference);
}

async function* readChunks(
  path: string,
  records: AsyncGenerator<TextRecord, void, undefined>,
  head: TextRecord | null,
  options: {
    schema: CsvSchema;
    encoder: RowEncoder;
    layout: Layout;
    keep: readonly number[];
    required: boolean;
    drop: boolean;
    skip: boolean;
    size: number;
    limit: number;
  },
): AsyncGenerator<RowChunk, void, undefined> {
  const { schema, encoder, layout, keep, required, drop, skip, size, limit } = options;
  const { features } = encoder;
  const classes = schema.task === 'classification';
  const K = layout.targets.length;
  const width = layout.names.length;
  let first = 0;
  let rows = 0;
  let total = 0;
  let kept: number[] = [];
  let withTarget: number[] = [];
  let keys: string[][] = [];
  let left: { place: number; reason: string }[] = [];
  let inputs = new Float64Array(size * features);
  const makeTargets = (): Int32Array | Float64Array =>
    classes ? new Int32Array(K === 0 ? 0 : size) : new Float64Array(size * K);
  let targets = makeTargets();

  const take = (record: TextRecord): void => {
    const place = rows++;
    const { cells, line } = record;
    if (keep.length > 0) keys.push(keep.map((at) => cells[at] ?? ''));
    if (cells.length !== width) throw badFile(`${path}, line ${line}`, `${width} columns`, String(cells.length));
    const at = ({ name }: CsvColumn, index: number): string => `${path}, line ${line}, column ${index + 1} ('${name}')`;
    const failing =
      (places: readonly number[], columns: readonly CsvColumn[]): Fail =>
      (column, expected, found) => {
        throw badFile(at(column, places[columns.indexOf(column)]), expected, found);
      };
    const n = kept.length;
    const empty = encoder.inputs(
      (_, c) => cells[layout.inputs[c]],
      inputs,
      n * features,
      failing(layout.inputs, schema.inputs),
    );
    if (empty !== null) {
      left.push({ place, reason: `${path}, line ${line}: '${empty.name}' is empty` });
      return;
    }
    if (K > 0) {
      const m = withTarget.length;
      const fail = failing(layout.targets, schema.targets);
      const none = encoder.targets((_, c) => cells[layout.targets[c]], targets, m * K, fail);
      if (none === null) withTarget.push(n);
      else if (required && drop) {
        left.push({ place, reason: `${path}, line ${line}: '${none.name}' is empty` });
        return;
      } else if (required) fail(none, 'a target', emptyCell(cells[layout.targets[schema.targets.indexOf(none)]], true));
    }
    kept.push(place);
    total++;
  };
  const chunk = (): RowChunk => {
    const n = kept.length;
    const m = withTarget.length;
    const part = targets.subarray(0, m * (classes ? 1 : K));
    const done: RowChunk = {
      first,
      rows,
      kept,
      inputs: inputs.subarray(0, n * features),
      withTarget,
      labels: K > 0 && part instanceof Int32Array ? part : null,
      values: K > 0 && part instanceof Float64Array ? part : null,
      keys,
      left,
    };
    first += rows;
    rows = 0;
    [kept, withTarget, keys, left] = [[], [], [], []];
    inputs = new Float64Array(size * features);
    targets = makeTargets();
    return done;
  };
  try {
    let record = head;
    while (total < limit) {
      if (record === null) {
        const { value, done } = await records.next();
        if (done) break;
        record = value;
      }
      try {
        take(record);
      } catch (error) {
        if (!skip || !(error instanceof DeepHessianError)) throw error;
        left.push({ place: rows - 1, reason: error.message });
      }
      record = null;
      if (kept.length === size || rows === mostRows) yield chunk();
    }
    if (rows > 0) yield chunk();
  } finally {
    await records.return();
  }
}
