import { writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { readCsv, type CsvOptions } from '../../ts/data/csv.js';
import { detectDelimiter, parseNumber } from '../../ts/data/csv-records.js';
import { expectFailure, expectMisuse, sharedPath, temporaryFolder } from './helpers.js';

describe('CSV', () => {
  const folder = temporaryFolder();
  let count = 0;
  const file = (content: string | Uint8Array, extension = 'csv'): string => {
    const path = folder.path(`t${count++}.${extension}`);
    writeFileSync(path, content);
    return path;
  };
  const read = async (content: string, options?: CsvOptions): ReturnType<typeof readCsv> =>
    readCsv(file(content), options);

  it('reads numbers, with and without header, last column as value', async () => {
    const plain = await read('1,2,3\n4,5e0,-.6\n');
    expect([...plain.dataset.inputs]).to.deep.equal([1, 2, 4, 5]);
    expect([...(plain.dataset.values ?? [])]).to.deep.equal([3, -0.6]);
    const named = await read('a,b,y\r\n1,2,3\r\n4,5,6');
    expect(named.dataset.featureNames).to.deep.equal(['a', 'b']);
    expect(named.dataset.valueNames).to.deep.equal(['y']);
    expect([...named.dataset.inputs]).to.deep.equal([1, 2, 4, 5]);
    // A byte order mark, blank lines, comments, quoted cells with delimiter and line end.
    const rich = await read('\uFEFFa,"b,\n2",y\n\n# note\n1,"2",3\n', { comment: '#' });
    expect(rich.dataset.featureNames).to.deep.equal(['a', 'b,\n2']);
    expect([...rich.dataset.inputs]).to.deep.equal([1, 2]);
  });

  it('tells the delimiter', () => {
    expect(detectDelimiter('x.csv', '1,2;3,4,5')).to.equal(',');
    expect(detectDelimiter('x.csv', 'a;b;c')).to.equal(';');
    expect(detectDelimiter('x.csv', '"a,b,c,d"\tb')).to.equal('\t');
    expect(detectDelimiter('x.tsv.gz', '1 2')).to.equal('\t');
    expect(detectDelimiter('x.txt', '540.0 \t0.0  1')).to.equal('blanks');
    expect(detectDelimiter('x.txt', 'only')).to.equal(',');
  });

  it('reads blanks, tabs and gzip', async () => {
    expect([...(await read(' 1  2\t3 \n 4 5  6\n')).dataset.inputs]).to.deep.equal([1, 2, 4, 5]);
    expect([...(await readCsv(file('a\tb\n1\t2\n', 'tsv'))).dataset.inputs]).to.deep.equal([1]);
    expect([...(await readCsv(file(gzipSync('1,2\n3,4\n'), 'csv.gz'))).dataset.inputs]).to.deep.equal([1, 3]);
  });

  it('chooses columns by name, index and index from the end', async () => {
    const text = 'id,a,b,y,z\n7,1,2,3,4\n8,5,6,7,8\n';
    const one = await read(text, { targets: ['y', -1], exclude: ['id'] });
    expect([...one.dataset.inputs]).to.deep.equal([1, 2, 5, 6]);
    expect([...(one.dataset.values ?? [])]).to.deep.equal([3, 4, 7, 8]);
    const two = await read(text, { inputs: ['2', 'a'], targets: [0] });
    expect([...two.dataset.inputs]).to.deep.equal([2, 1, 6, 5]);
    await expectMisuse(read(text, { inputs: ['c'] }), RangeError, /id, a, b, y, z for inputs\[0\].*"c"/);
    await expectMisuse(read(text, { inputs: [5] }), RangeError, /-5 to 4.*5/);
    await expectMisuse(read(text, { inputs: ['a'], targets: ['a'] }), RangeError, /different columns/);
    await expectMisuse(read(text, { inputs: ['a'], exclude: ['a'] }), RangeError, /exclude/);
    await expectMisuse(read(text, { inptus: ['a'] } as never), RangeError, /unknown option 'inptus'/);
  });

  it('text inputs become one column a category, a text target class labels', async () => {
    const { dataset, schema } = await read('c,x,y\nred,1,no\nblue,2,yes\nred,3,yes\n');
    expect(dataset.featureNames).to.deep.equal(['c=blue', 'c=red', 'x']);
    expect([...dataset.inputs]).to.deep.equal([0, 1, 1, 1, 0, 2, 0, 1, 3]);
    expect(dataset.classes).to.deep.equal(['no', 'yes']);
    expect([...(dataset.labels ?? [])]).to.deep.equal([0, 1, 1]);
    expect(schema.task).to.equal('classification');
    // The schema survives JSON and reads a second file with the same codes.
    const again = await read('c,x,y\nred,9,yes\n', { schema: JSON.parse(JSON.stringify(schema)) });
    expect([...again.dataset.inputs]).to.deep.equal([0, 1, 9]);
    expect([...(again.dataset.labels ?? [])]).to.deep.equal([1]);
    const turned = await read('id,y,x,c\n7,yes,9,red\n8,no,3,blue\n', { schema });
    expect([...turned.dataset.inputs]).to.deep.equal([0, 1, 9, 1, 0, 3]);
    expect([...(turned.dataset.labels ?? [])]).to.deep.equal([1, 0]);
    expect(turned.dataset.featureNames).to.deep.equal(dataset.featureNames);
    await expectFailure(read('c,x\nred,9\n', { schema }), 'bad-file', /the column 'y', found c, x/);
    await expectFailure(
      read('c,x,c,y\nred,9,red,yes\n', { schema }),
      'bad-file',
      /one column 'c', found more than one/,
    );
    await expectFailure(
      read('c,x,y\ngreen,9,yes\n', { schema }),
      'bad-file',
      /line 2, column 1 \('c'\).*blue, red.*"green"/,
    );
    await expectFailure(
      read('d,x,y\nred,9,yes\n', { schema }),
      'bad-file',
      /line 1: expected the column 'c', found d, x, y/,
    );
  });

  it('numbered classes sort by value and need the task', async () => {
    const lines = Array.from({ length: 11 }, (_, k) => `${k},${10 - k}`).join('\n');
    expect((await read(lines)).dataset.labels).to.equal(null);
    const { dataset } = await read(lines, { task: 'classification' });
    expect(dataset.classes).to.deep.equal(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '10']);
    expect([...(dataset.labels ?? [])]).to.deep.equal([10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    await expectFailure(read('x,y\n1,a\n', { task: 'regression' }), 'bad-file', /numbers in target column 'y'/);
  });

  it('missing cells: an error with their place, their row left out, or the mean', async () => {
    const text = 'x,c,y\n1,u,1\n?,v,2\n5,,3\n6,v,4\n';
    await expectFailure(read(text), 'bad-file', /line 3, column 1 \('x'\).*empty cell "\?"/);
    const dropped = await read(text, { missing: 'drop' });
    expect([...dropped.dataset.inputs]).to.deep.equal([1, 1, 0, 6, 0, 1]);
    const filled = await read(text, { missing: 'mean' });
    // mean of 1, 5, 6; shares of u and v are 1/3 and 2/3.
    expect([...filled.dataset.inputs]).to.deep.equal([1, 1, 0, 4, 0, 1, 5, 1 / 3, 2 / 3, 6, 0, 1]);
    const test = await read('x,c,y\nNA,u,0\n', { missing: 'mean', schema: filled.schema });
    expect([...test.dataset.inputs]).to.deep.equal([4, 1, 0]);
    await expectFailure(read('x,y\n1,\n', { missing: 'mean' }), 'bad-file', /line 2, column 2 \('y'\).*a target/);
    // The hint is of the option and of the flag, and names only what helps: a target has no mean.
    const input = /a value, found an empty cell \(missing: 'drop' or 'mean', --missing drop or mean, lets it pass\)$/;
    const target = /a target, found an empty cell \(missing: 'drop', --missing drop, lets it pass\)$/;
    const { schema } = filled;
    await expectFailure(read('x,c,y\n1,,2\n'), 'bad-file', input);
    await expectFailure(read('x,c,y\n1,,2\n', { schema }), 'bad-file', input);
    for (const missing of ['error', 'mean'] as const) {
      await expectFailure(read('x,c,y\n1,u,\n', { missing }), 'bad-file', target);
      await expectFailure(read('x,c,y\n1,u,\n', { missing, schema }), 'bad-file', target);
    }
    for (const given of [{}, { schema }])
      expect((await read('x,c,y\n1,u,\n2,u,3\n', { missing: 'drop', ...given })).dataset.samples).to.equal(1);
    await expectFailure(read('x,z,y\n1,,1\n2,,2\n', { missing: 'mean' }), 'bad-file', /column 2 \('z'\)|'z'/);
  });

  it('names line and column of what is wrong', async () => {
    await expectFailure(read('a,b\n1,2\n1,2,3\n'), 'bad-file', /line 3: expected 2 columns, found 3/);
    await expectFailure(read('a,b\n1,2\n\n3,oops\n'), 'bad-file', /line 4, column 2 \('b'\).*a number.*"oops"/);
    await expectFailure(read('1,2\n1e999,2\n'), 'bad-file', /line 2, column 1.*finite.*"1e999"/);
    await expectFailure(read('1,2\ninf,2\n'), 'bad-file', /line 2, column 1.*"inf"/);
    await expectFailure(read('a,a\n1,2\n'), 'bad-file', /'a' twice/);
    await expectFailure(read('a,b\n"1,2\n3,4\n'), 'bad-file', /well-formed CSV/i);
    await expectFailure(read(''), 'bad-file', /at least one record/);
    await expectFailure(read('a,b\n', { header: true }), 'bad-file', /at least one whole row/);
    await expectFailure(read('a\0b,2\n'), 'bad-file', /zero byte in line 1/);
    await expectFailure(readCsv(file(Uint8Array.of(0x31, 0xff, 0xfe, 0x0a))), 'bad-file', /UTF-8/);
    await expectFailure(readCsv(folder.path('absent.csv')), 'io', /absent\.csv.*no such file/i);
    await expectFailure(readCsv(folder.path()), 'io', /not a regular file/);
    const many = Array.from({ length: 30 }, (_, i) => `k${i},1`).join('\n');
    await expectFailure(read(many, { maxCategories: 20, header: false }), 'bad-file', /line 21.*at most 20 different/);
  });

  it('asks rather than takes names for values, or numbers for categories', async () => {
    const text = 'c,d,y\nred,x,yes\nblue,z,no\n';
    await expectFailure(read(text), 'bad-file', /line 1: .*header: true or false.*text in both/);
    expect((await read(text, { header: true })).dataset.samples).to.equal(2);
    expect((await read(text, { header: false })).dataset.samples).to.equal(3);
    await expectFailure(read('a,y\n'), 'bad-file', /header: true or false.*a single record/);
    // Names among which are numbers; the first line of a file that says how large it is.
    await expectFailure(read('2019,2020,y\n1,2,3\n4,5,6\n'), 'bad-file', /line 1, column 3.*--header yes.*"y"/);
    await expectFailure(read('2019,y\n1,2\n4,5\n', { task: 'classification' }), 'bad-file', /line 1, column 2/);
    await expectFailure(read('2,1,u,v\n1,2,3,0\n4,5,6,1\n'), 'bad-file', /line 1, column 3.*--skip-rows 1.*"u"/);
    expect((await read('2019,2020,y\n1,2,3\n', { header: true })).dataset.valueNames).to.deep.equal(['y']);
    // Text that comes again, or stands beside other text, is a value.
    expect((await read('x,1\n2,2\nx,3\n')).dataset.featureNames).to.deep.equal(['column0=2', 'column0=x']);
    expect((await read('x,1\n2,2\nz,3\n')).dataset.samples).to.equal(3);
    await expectFailure(
      read('a;y\n1,5;2\n2;3\n', { delimiter: ';' }),
      'bad-file',
      /column 1 \('a'\).*decimal point.*"1,5"/,
    );
    expect((await read('a;y\n1,5;2\n2;3\n', { categorical: ['a'] })).dataset.features).to.equal(2);
    await expectFailure(read('a,y\r1,2\r3,4\r'), 'bad-file', /LF or CR LF.*line 1/);
    await expectFailure(read('a b y\n1 2 3\n'), 'bad-file', /line 1: .*two columns set apart by ','.*one/);
    expect((await read('a b y\n1 2 3\n', { delimiter: 'blanks' })).dataset.features).to.equal(2);
  });

  it('bounds what gzip may yield and reports a truncated file', async () => {
    const bomb = gzipSync(Buffer.alloc(8 << 20, '1,2\n'));
    expect(bomb.length).to.be.below(1 << 17);
    const cut = gzipSync('1,2\n3,4\n5,6\n');
    await expectFailure(readCsv(file(bomb, 'gz'), { maxBytes: 1 << 20 }), 'bad-file', /at most 1048576 bytes/);
    await expectFailure(readCsv(file(cut.subarray(0, cut.length - 9), 'gz')), 'bad-file', /whole gzip file.*truncated/);
    const line = gzipSync(Buffer.alloc(20 << 20, '1'));
    await expectFailure(readCsv(file(line, 'gz')), 'bad-file', /lines of at most/);
  });

  it('counts lines and columns the same before and after the first quote', async () => {
    const rows = Array.from({ length: 5 }, (_, i) => `${i},x`).join('\n');
    await expectFailure(read(`n,c\n${rows}\n5,"x"\n6,"y\nz"\n7,y\nseven,y\n`), 'bad-file', /line 11, column 1 \('n'\)/);
    const { dataset } = await read(`n,c\n${rows}\n5,"x ""q"", z"\n6,x\n`, { targets: ['n'] });
    expect(dataset.featureNames).to.deep.equal(['c=x', 'c=x "q", z']);
    expect(dataset.samples).to.equal(7);
  });

  it('limit stops early', async () => {
    expect((await read('1,2\n3,4\nbroken', { limit: 2 })).dataset.samples).to.equal(2);
    expect((await read('1,2\n3,4\n', { limit: 1 })).dataset.samples).to.equal(1);
  });

  it('parses exactly the decimal numbers', () => {
    for (const text of ['1', '-1.5', '+.5', '5.', '1e-3', '1E+3']) expect(parseNumber(text)).to.equal(Number(text));
    for (const text of ['', ' ', '0x1f', '1,5', 'inf', '1e', '.', '1_000', 'NaN'])
      expect(parseNumber(text)).to.equal(null);
  });

  it('reads the real tables', async function () {
    const wdbc = await readCsv(sharedPath(this, 'data/breast_cancer/wdbc.data'), { targets: [1], exclude: [0] });
    expect([wdbc.dataset.samples, wdbc.dataset.features]).to.deep.equal([569, 30]);
    expect(wdbc.dataset.classes).to.deep.equal(['B', 'M']);
    const malignant = Array.from(wdbc.dataset.labels ?? []).reduce((a, b) => a + b, 0);
    expect(malignant).to.equal(212);
    const iris = await readCsv(sharedPath(this, 'data/iris/iris.csv'), { skipRows: 1, task: 'classification' });
    expect([iris.dataset.samples, iris.dataset.features, iris.dataset.outputs]).to.deep.equal([150, 4, 3]);
    const digits = await readCsv(sharedPath(this, 'data/digits/digits.csv.gz'), { task: 'classification' });
    const perClass = new Array<number>(10).fill(0);
    for (const label of digits.dataset.labels ?? []) perClass[label]++;
    expect(perClass).to.deep.equal([178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    for (const [name, rows, inputs] of [
      ['concrete', 1030, 8],
      ['energy', 768, 8],
      ['yacht', 308, 6],
    ] as const) {
      const { dataset } = await readCsv(sharedPath(this, `data/uci_${name}/data.txt`));
      expect([dataset.samples, dataset.features, dataset.outputs], name).to.deep.equal([rows, inputs, 1]);
    }
    const airfoil = await readCsv(sharedPath(this, 'data/uci_airfoil/data.csv.gz'));
    expect([airfoil.dataset.samples, airfoil.dataset.features]).to.deep.equal([1503, 5]);
    expect(airfoil.dataset.inputs[0]).to.equal(-1286.4);
  });
});
