/**
 * CSV and TSV tables to data sets, in one pass with memory for the chosen columns only.
 *
 * The chosen cells are held as one row-major [rows, columns] matrix of float64 (text cells as category codes) that
 * grows by doubling; at the end categories are sorted, text inputs spread to one column a category, and gaps filled.
 */
import { checkInteger, checkOneOf, failRange, failType } from '../checks.js';
import { DeepHessianError } from '../errors.js';
import { badFile, checkFits } from './bytes.js';
import { openRecords, parseNumber, type Delimiter, type TextRecord } from './csv-records.js';
import { makeDataset, type Dataset } from './dataset.js';
import { checkOptions } from './options.js';
import type { RowChunk } from './row-chunks.js';
import {
  defaultMissing,
  emptyCell,
  openTable,
  readNumber,
  spreadNames,
  type CsvColumn,
  type CsvSchema,
} from './table-rows.js';

export type { CsvColumn, CsvSchema } from './table-rows.js';

/** A column by its name in the header or its index from 0; negative indices count from the end. */
export type ColumnReference = string | number;

export interface CsvOptions {
  /** Default: told from the first record (comma, semicolon, tab, bar, or runs of blanks). */
  delimiter?: Delimiter;
  /**
   * Whether the first record holds names. Default 'auto': yes when it holds no number and the second record does, no when it
   * holds one; where neither holds a number, or the first record alone has text above numbers, that is to be said.
   */
  header?: boolean | 'auto';
  /** Lines to leave out before the first record. Default 0. */
  skipRows?: number;
  /** Lines that begin with this text are left out. Default: none. */
  comment?: string;
  /** Input columns. Default: all that are neither targets nor excluded. */
  inputs?: readonly ColumnReference[];
  /** Target columns. Default: the last one that is not excluded. */
  targets?: readonly ColumnReference[];
  /** Columns to leave out (an identifier). */
  exclude?: readonly ColumnReference[];
  /** Columns to take as categories although they look like numbers. */
  categorical?: readonly ColumnReference[];
  /** 'auto': classification for one text (or `categorical`) target, else regression. Default 'auto'. */
  task?: 'auto' | 'classification' | 'regression';
  /**
   * What an empty cell does. 'error' (default); 'drop': its row is left out; 'mean': an input gets its column's mean
   * (a text input the shares of its categories), a missing target is still an error.
   */
  missing?: 'error' | 'drop' | 'mean';
  /** Texts that count as empty. Default '', '?', 'NA', 'N/A', 'NaN', 'nan', 'null', 'NULL'. */
  missingValues?: readonly string[];
  /** Most categories of one column. Default 1000. */
  maxCategories?: number;
  /** At most this many rows, the first ones. Default: all. */
  limit?: number;
  /** Bound on the size after unpacking, in bytes. Default 4 GiB. */
  maxBytes?: number;
  /** Read the file as an earlier one was read (a test set): its columns by name, its categories and means. */
  schema?: CsvSchema;
}

const operation = 'readCsv';
const optionNames = [
  'delimiter',
  'header',
  'skipRows',
  'comment',
  'inputs',
  'targets',
  'exclude',
  'categorical',
  'task',
  'missing',
  'missingValues',
  'maxCategories',
  'limit',
  'maxBytes',
  'schema',
] as const;

/** A column while it is read. */
interface Reading {
  name: string;
  index: number;
  target: boolean;
  /** Unknown until the first cell that is not missing. */
  kind: 'number' | 'category' | null;
  /** Whether `categorical` or the task made it a category. */
  chosen: boolean;
  codes: Map<string, number>;
}

/**
 * Reads a CSV or TSV file (gzipped too).
 *
 * A column is text when its first cell that is not missing is no number, or when `categorical` names it; a text cell
 * further down a column of numbers is an error with its line and column. Text inputs become one 0/1 column a
 * category ('colour=red'), sorted; a text target gives class labels.
 *
 * @throws DeepHessianError 'bad-file' naming file, line and column; 'io' for a missing file; RangeError for a column
 * that does not exist or options that contradict each other
 * @example
 * const { dataset, schema } = await readCsv('train.csv', { targets: ['price'], exclude: ['id'], missing: 'mean' });
 * const test = await readCsv('test.csv', { schema });
 */
export async function readCsv(
  path: string,
  options: CsvOptions = {},
): Promise<{ dataset: Dataset; schema: CsvSchema }> {
  checkCsvOptions(options);
  if (options.schema !== undefined) return readBySchema(path, options.schema, options);
  const missing = options.missing ?? 'error';
  const isMissing = new Set(options.missingValues ?? defaultMissing);
  const maxCategories = options.maxCategories ?? 1000;
  const limit = options.limit ?? Infinity;
  const skipRows = options.skipRows ?? 0;
  const { delimiter, records } = await openRecords(path, {
    delimiter: options.delimiter,
    skipRows,
    comment: options.comment,
    maxBytes: options.maxBytes ?? 4 * 2 ** 30,
  });
  try {
    const first = await next(records);
    if (!first) throw badFile(path, 'at least one record', 'none');
    if (first.cells.length === 1) {
      throw badFile(
        `${path}, line ${first.line}`,
        `at least two columns set apart by ${describeDelimiter(delimiter)} (--delimiter says another)`,
        'one',
      );
    }
    const second = await next(records);
    const header = decideHeader(path, options.header ?? 'auto', first, second);
    const width = first.cells.length;
    const names = columnNames(path, first, header, width);
    const columns = chooseColumns(options, names, header);
    const matrix = new GrowingMatrix(path, columns.length);

    const take = (record: TextRecord): void => {
      if (record.cells.length !== width) {
        throw badFile(`${path}, line ${record.line}`, `${width} columns`, `${record.cells.length}`);
      }
      const row = matrix.push();
      for (let c = 0; c < columns.length; c++) {
        const column = columns[c];
        const text = record.cells[column.index];
        const where = (): string => `${path}, line ${record.line}, column ${column.index + 1} ('${column.name}')`;
        const fail = (expected: string, found: string): never => {
          throw badFile(where(), expected, found);
        };
        if (isMissing.has(text)) {
          if (missing === 'drop') return matrix.pop();
          if (missing === 'error' || column.target)
            fail(column.target ? 'a target' : 'a value', emptyCell(text, column.target));
          matrix.data[row + c] = NaN;
          continue;
        }
        column.kind ??= parseNumber(text) === null ? 'category' : 'number';
        matrix.data[row + c] =
          column.kind === 'number' ? readNumber(text, fail) : code(column, text, maxCategories, where);
      }
    };
    if (!header) take(first);
    const told = (options.header ?? 'auto') !== 'auto';
    const doubtful = !header && !told && matrix.rows === 1 ? first : null;
    if (second && matrix.rows < limit) take(second);
    while (matrix.rows < limit) {
      const record = await next(records);
      if (!record) break;
      take(record);
    }
    if (matrix.rows === 0) throw badFile(path, 'at least one whole row', 'none');
    if (doubtful !== null) checkFirstRecord(path, doubtful, columns, matrix);
    checkDecimalCommas(path, columns);
    return assemble(path, matrix, columns, { delimiter, header, skipRows, width }, options);
  } finally {
    await records.return();
  }
}

async function next(records: AsyncGenerator<TextRecord, void, undefined>): Promise<TextRecord | null> {
  const { value, done } = await records.next();
  return done ? null : value;
}

function checkCsvOptions(options: CsvOptions): void {
  checkOptions(operation, options, optionNames);
  if (options.delimiter !== undefined) {
    checkOneOf(operation, 'delimiter', options.delimiter, [',', ';', '\t', '|', 'blanks'] as const);
  }
  if (options.header !== undefined && options.header !== 'auto' && typeof options.header !== 'boolean') {
    failType(operation, 'header', `true, false or 'auto'`, options.header);
  }
  if (options.skipRows !== undefined) checkInteger(operation, 'skipRows', options.skipRows);
  if (options.task !== undefined) {
    checkOneOf(operation, 'task', options.task, ['auto', 'classification', 'regression'] as const);
  }
  if (options.missing !== undefined)
    checkOneOf(operation, 'missing', options.missing, ['error', 'drop', 'mean'] as const);
  if (options.maxCategories !== undefined) checkInteger(operation, 'maxCategories', options.maxCategories, 1);
  if (options.limit !== undefined) checkInteger(operation, 'limit', options.limit, 1);
  if (options.maxBytes !== undefined) checkInteger(operation, 'maxBytes', options.maxBytes, 1);
  if (options.schema) {
    for (const name of [
      'inputs',
      'targets',
      'exclude',
      'categorical',
      'task',
      'delimiter',
      'header',
      'skipRows',
    ] as const) {
      if (options[name] !== undefined) failRange(operation, name, 'nothing beside a schema', options[name]);
    }
  }
}

const isNumber = (text: string): boolean => parseNumber(text) !== null;

function decideHeader(path: string, header: boolean | 'auto', first: TextRecord, second: TextRecord | null): boolean {
  if (header !== 'auto') return header;
  if (first.cells.some(isNumber)) return false;
  if (second?.cells.some(isNumber)) return true;
  throw badFile(
    `${path}, line ${first.line}`,
    'a number in one of the first two records, to tell names from values (or header: true or false, --header yes or no)',
    second ? 'text in both' : 'a single record of text',
  );
}

/** A record that was taken for values because it holds a number, but alone has text in a column of numbers, is none. */
function checkFirstRecord(path: string, first: TextRecord, columns: readonly Reading[], matrix: GrowingMatrix): void {
  for (const [c, { name, index, codes }] of columns.entries()) {
    const [text, ...others] = codes.keys();
    if (text === undefined || isNumber(text) || others.length === 0 || !others.every(isNumber)) continue;
    let again = false;
    for (let n = 1; n < matrix.rows && !again; n++) again = matrix.data[n * columns.length + c] === 0;
    if (again) continue;
    throw badFile(
      `${path}, line ${first.line}, column ${index + 1} ('${name}')`,
      'a number as in the records below it (--header yes where the record holds names, --skip-rows 1 where it is something else)',
      `"${text.slice(0, 40)}"`,
    );
  }
}

/** Numbers with a decimal comma would be taken for categories. */
function checkDecimalCommas(path: string, columns: readonly Reading[]): void {
  for (const { name, index, codes, chosen } of columns) {
    if (chosen) continue;
    const texts = [...codes.keys()];
    if (!texts.some((text) => text.includes(',')) || !texts.every((text) => isNumber(text.replace(',', '.')))) continue;
    const example = texts.find((text) => text.includes(',')) ?? '';
    throw badFile(
      `${path}, column ${index + 1} ('${name}')`,
      'numbers with a decimal point (or its name in categorical)',
      `"${example.slice(0, 40)}"`,
    );
  }
}

function columnNames(path: string, first: TextRecord, header: boolean, width: number): string[] {
  if (!header) return Array.from({ length: width }, (_, i) => `column${i}`);
  const names = first.cells.map((cell) => cell.trim());
  if (names.length !== width) throw badFile(`${path}, line ${first.line}`, `${width} columns`, `${names.length}`);
  const seen = new Set<string>();
  names.forEach((name, i) => {
    if (name === '') throw badFile(`${path}, line ${first.line}`, `a name for column ${i + 1}`, 'an empty cell');
    if (seen.has(name)) throw badFile(`${path}, line ${first.line}`, 'different column names', `'${name}' twice`);
    seen.add(name);
  });
  return names;
}

/** Index of a column; a text of digits is an index where no column has that name. */
function resolve(reference: ColumnReference, names: readonly string[], header: boolean, argument: string): number {
  if (typeof reference === 'string') {
    const at = names.indexOf(reference);
    if (at >= 0) return at;
    if (/^-?\d+$/.test(reference)) return resolve(Number(reference), names, header, argument);
    const shown = names.slice(0, 20).join(', ') + (names.length > 20 ? ', ..' : '');
    failRange(
      operation,
      argument,
      header ? `one of the columns ${shown}` : 'an index (the file has no header)',
      reference,
    );
  }
  if (!Number.isInteger(reference) || reference < -names.length || reference >= names.length) {
    failRange(operation, argument, `a column from ${-names.length} to ${names.length - 1}`, reference);
  }
  return reference < 0 ? names.length + reference : reference;
}

function chooseColumns(options: CsvOptions, names: readonly string[], header: boolean): Reading[] {
  const indices = (list: readonly ColumnReference[] | undefined, argument: string): number[] => {
    if (list !== undefined && !isList(list)) failType(operation, argument, 'an array of columns', list);
    return (list ?? []).map((reference, i) => resolve(reference, names, header, `${argument}[${i}]`));
  };
  const excluded = new Set(indices(options.exclude, 'exclude'));
  const categorical = new Set(indices(options.categorical, 'categorical'));
  let targets = indices(options.targets, 'targets');
  const asked = indices(options.inputs, 'inputs');
  if (options.targets === undefined) {
    const last = [...names.keys()].reverse().find((i) => !excluded.has(i) && !asked.includes(i));
    targets = last === undefined ? [] : [last];
  }
  const isTarget = new Set(targets);
  const inputs = options.inputs ? asked : [...names.keys()].filter((i) => !isTarget.has(i) && !excluded.has(i));
  if (targets.length === 0) failRange(operation, 'targets', 'at least one column', options.targets);
  if (inputs.length === 0) failRange(operation, 'inputs', 'at least one column beside the targets', options.inputs);
  const chosen = [...inputs, ...targets];
  const twice = chosen.find((index, i) => chosen.indexOf(index) !== i);
  if (twice !== undefined) failRange(operation, 'inputs and targets', 'different columns', names[twice]);
  const both = chosen.find((index) => excluded.has(index));
  if (both !== undefined) failRange(operation, 'exclude', 'columns that are not inputs or targets', names[both]);
  if (options.task === 'classification') {
    if (targets.length !== 1) failRange(operation, 'targets', 'one column for classification', targets);
    categorical.add(targets[0]);
  }
  return chosen.map((index, c) => ({
    name: names[index],
    index,
    target: c >= inputs.length,
    kind: categorical.has(index) ? 'category' : null,
    chosen: categorical.has(index),
    codes: new Map(),
  }));
}

function describeDelimiter(delimiter: Delimiter): string {
  return delimiter === 'blanks' ? 'blanks' : delimiter === '\t' ? 'tabs' : `'${delimiter}'`;
}

function code(column: Reading, text: string, maxCategories: number, where: () => string): number {
  const known = column.codes.get(text);
  if (known !== undefined) return known;
  const next = column.codes.size;
  if (next >= maxCategories) {
    throw badFile(
      where(),
      `at most ${maxCategories} different texts in a column (exclude it otherwise)`,
      `"${text}" as one more`,
    );
  }
  column.codes.set(text, next);
  return next;
}

/** Row-major rows of a fixed width, grown by doubling. */
class GrowingMatrix {
  data: Float64Array;
  rows = 0;

  constructor(
    private readonly path: string,
    private readonly columns: number,
  ) {
    this.data = new Float64Array(1024 * columns);
  }

  /** Adds a row and gives its offset. */
  push(): number {
    const at = this.rows * this.columns;
    if (at + this.columns > this.data.length) {
      checkFits(this.path, this.data.length * 2 * 8);
      const wider = new Float64Array(this.data.length * 2);
      wider.set(this.data);
      this.data = wider;
    }
    this.rows++;
    return at;
  }

  pop(): void {
    this.rows--;
  }
}

/** Categories in order: by value when all are numbers, else by code unit. */
function sortCategories(texts: string[]): string[] {
  const numeric = texts.every((text) => parseNumber(text) !== null);
  return texts.sort((a, b) =>
    numeric && Number(a) !== Number(b) ? Number(a) - Number(b) : a < b ? -1 : a > b ? 1 : 0,
  );
}

function assemble(
  path: string,
  matrix: GrowingMatrix,
  columns: Reading[],
  layout: { delimiter: Delimiter; header: boolean; skipRows: number; width: number },
  options: CsvOptions,
): { dataset: Dataset; schema: CsvSchema } {
  const { rows, data } = matrix;
  const width = columns.length;
  const done: CsvColumn[] = columns.map((column, c) => {
    if (column.kind === null)
      throw badFile(path, `a value in column ${column.index + 1} ('${column.name}')`, 'only empty cells');
    if (column.kind === 'number') return { name: column.name, index: column.index, categories: null, means: [] };
    const old = [...column.codes.keys()];
    const categories = sortCategories([...old]);
    const place = new Map(categories.map((text, k) => [text, k]));
    const recode = old.map((text) => place.get(text) ?? 0);
    for (let n = 0; n < rows; n++) {
      const value = data[n * width + c];
      if (!Number.isNaN(value)) data[n * width + c] = recode[value];
    }
    return { name: column.name, index: column.index, categories, means: [] };
  });
  const inputCount = columns.filter((column) => !column.target).length;
  const inputs = done.slice(0, inputCount);
  const targets = done.slice(inputCount);
  const start: number[] = [];
  let features = 0;
  for (const { categories } of inputs) {
    start.push(features);
    features += categories?.length ?? 1;
  }
  checkFits(path, rows * features * 8);
  const out = new Float64Array(rows * features);
  inputs.forEach((column, c) => {
    const span = column.categories?.length ?? 1;
    column.means = columnMeans(path, data, rows, width, c, column);
    for (let n = 0; n < rows; n++) {
      const value = data[n * width + c];
      const at = n * features + start[c];
      if (Number.isNaN(value)) for (let k = 0; k < span; k++) out[at + k] = column.means[k];
      else if (column.categories) out[at + value] = 1;
      else out[at] = value;
    }
  });
  const textTargets = targets.filter((column) => column.categories);
  if (textTargets.length > 0 && targets.length > 1) {
    throw badFile(path, 'numbers in every one of several target columns', `text in '${textTargets[0].name}'`);
  }
  const task = textTargets.length > 0 ? 'classification' : 'regression';
  if (options.task === 'regression' && task === 'classification') {
    throw badFile(path, `numbers in target column '${targets[0].name}' (task: 'regression')`, 'text');
  }
  const labels = task === 'classification' ? new Int32Array(rows) : null;
  const values = labels ? null : new Float64Array(rows * targets.length);
  for (let n = 0; n < rows; n++) {
    for (let k = 0; k < targets.length; k++) {
      const value = data[n * width + inputCount + k];
      if (labels) labels[n] = value;
      else if (values) values[n * targets.length + k] = value;
    }
  }
  const { delimiter, header, skipRows, width: cells } = layout;
  const schema: CsvSchema = { delimiter, header, skipRows, columns: cells, task, inputs, targets };
  return { dataset: tableDataset(path, schema, { inputs: out, labels, values }), schema };
}

/** The data set of a table that was read by a schema. */
function tableDataset(
  path: string,
  { inputs, targets }: CsvSchema,
  rows: { inputs: Float64Array; labels: Int32Array | null; values: Float64Array | null },
): Dataset {
  const featureNames = spreadNames(inputs);
  const classes = rows.labels ? targets[0].categories : null;
  return makeDataset({
    ...rows,
    name: path.replace(/^.*[\\/]/, ''),
    features: featureNames.length,
    classes,
    outputs: classes ? classes.length : targets.length,
    featureNames,
    ...(rows.values ? { valueNames: targets.map((column) => column.name) } : {}),
  });
}

/** Reads a whole file as an earlier one was read. */
async function readBySchema(
  path: string,
  schema: CsvSchema,
  options: CsvOptions,
): Promise<{ dataset: Dataset; schema: CsvSchema }> {
  const { missing, missingValues, comment, limit, maxBytes = 4 * 2 ** 30 } = options;
  const table = await openTable(path, schema, {
    targets: 'require',
    ...(missing === undefined ? {} : { missing }),
    ...(missingValues === undefined ? {} : { missingValues }),
    ...(comment === undefined ? {} : { comment }),
    ...(limit === undefined ? {} : { limit }),
    maxBytes,
  });
  const parts: RowChunk[] = [];
  let rows = 0;
  for await (const part of table.chunks) {
    // The parts, and beside them the whole.
    checkFits(path, 2 * part.inputs.byteLength);
    parts.push(part);
    rows += part.kept.length;
  }
  if (rows === 0) throw badFile(path, 'at least one whole row', 'none');
  const { features } = table;
  checkFits(path, rows * features * 8);
  const inputs = new Float64Array(rows * features);
  const labels = schema.task === 'classification' ? new Int32Array(rows) : null;
  const K = schema.targets.length;
  const values = labels === null ? new Float64Array(rows * K) : null;
  let at = 0;
  for (const part of parts) {
    inputs.set(part.inputs, at * features);
    if (part.labels !== null) labels?.set(part.labels, at);
    if (part.values !== null) values?.set(part.values, at * K);
    at += part.kept.length;
  }
  return { dataset: tableDataset(path, schema, { inputs, labels, values }), schema };
}

function columnMeans(
  path: string,
  data: Float64Array,
  rows: number,
  width: number,
  c: number,
  column: CsvColumn,
): number[] {
  const sums = new Array<number>(column.categories?.length ?? 1).fill(0);
  let count = 0;
  for (let n = 0; n < rows; n++) {
    const value = data[n * width + c];
    if (Number.isNaN(value)) continue;
    count++;
    if (column.categories) sums[value]++;
    else sums[0] += value;
  }
  if (count === 0) throw new DeepHessianError('bad-file', `${path}: column '${column.name}' holds only empty cells`);
  return sums.map((sum) => sum / count);
}

/** `Array.isArray` that keeps the element type of a read-only list. */
function isList(value: unknown): boolean {
  return Array.isArray(value);
}
