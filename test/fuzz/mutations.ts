/**
 * Broken files from sound ones: cut, flipped, overwritten with telling numbers, pieces inserted, repeated or taken out. And
 * a watch over what a reader allocates.
 */
import fc from 'fast-check';

type Edit =
  | { kind: 'cut'; at: number }
  | { kind: 'flip'; at: number; bit: number }
  | { kind: 'overwrite'; at: number; bytes: number[] }
  | { kind: 'insert'; at: number; bytes: number[] }
  | { kind: 'remove'; at: number; length: number }
  | { kind: 'repeat'; at: number; length: number; times: number };

/** Sizes at the edges of 8, 16, 32, 53 and 64 bits, in both byte orders; NaN and infinity; digits, brackets and quotes. */
const telling: number[][] = [
  [0],
  [255],
  [0xff, 0xff],
  [0xff, 0xff, 0xff, 0xff],
  [0xff, 0xff, 0xff, 0x7f],
  [0x7f, 0xff, 0xff, 0xff],
  [0, 0, 0, 0x80],
  [0, 0, 0, 0, 0, 0, 0x20, 0],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
  [0, 0, 0, 0, 0, 0, 0xf8, 0x7f],
  [0, 0, 0, 0, 0, 0, 0xf0, 0x7f],
  ...[
    '9',
    '-1',
    '99999999999999',
    '1e308',
    'NaN',
    '[',
    ']',
    '{',
    '}',
    '"',
    ',',
    ':',
    '\\u0000',
    'null',
    '__proto__',
    '../',
    '\n',
  ].map((text) => [...Buffer.from(text)]),
];

const place = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
const bytes = fc.oneof(
  fc.constantFrom(...telling),
  fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 1, maxLength: 12 }),
);
const edit: fc.Arbitrary<Edit> = fc.oneof(
  fc.record({ kind: fc.constant('cut' as const), at: place }),
  fc.record({ kind: fc.constant('flip' as const), at: place, bit: fc.integer({ min: 0, max: 7 }) }),
  fc.record({ kind: fc.constant('overwrite' as const), at: place, bytes }),
  fc.record({ kind: fc.constant('insert' as const), at: place, bytes }),
  fc.record({ kind: fc.constant('remove' as const), at: place, length: fc.integer({ min: 1, max: 40 }) }),
  fc.record({
    kind: fc.constant('repeat' as const),
    at: place,
    length: fc.integer({ min: 1, max: 40 }),
    times: fc.integer({ min: 1, max: 50 }),
  }),
);

/** One to four edits; places lean to the front, where headers are. */
export const edits: fc.Arbitrary<Edit[]> = fc.array(
  fc.tuple(edit, fc.boolean()).map(([one, front]) => (front ? { ...one, at: one.at ** 4 } : one)),
  { minLength: 1, maxLength: 4 },
);

export function apply(file: Uint8Array, list: readonly Edit[]): Buffer {
  let data = Buffer.from(file);
  for (const one of list) {
    const at = Math.floor(one.at * (data.length + 1));
    const rest = (from: number): Buffer => data.subarray(Math.min(from, data.length));
    if (one.kind === 'cut') data = data.subarray(0, at);
    else if (one.kind === 'flip' && at < data.length) {
      data = Buffer.from(data);
      data[at] ^= 1 << one.bit;
    } else if (one.kind === 'overwrite')
      data = Buffer.concat([data.subarray(0, at), Buffer.from(one.bytes), rest(at + one.bytes.length)]);
    else if (one.kind === 'insert') data = Buffer.concat([data.subarray(0, at), Buffer.from(one.bytes), rest(at)]);
    else if (one.kind === 'remove') data = Buffer.concat([data.subarray(0, at), rest(at + one.length)]);
    else if (one.kind === 'repeat') {
      const piece = data.subarray(at, at + one.length);
      data = Buffer.concat([data.subarray(0, at), ...Array.from({ length: one.times }, () => piece), rest(at)]);
    }
  }
  return data;
}

const typedArrays = ['Uint8Array', 'Int8Array', 'Int16Array', 'Int32Array', 'Float32Array', 'Float64Array'] as const;

/** Runs `work` and returns the largest number of bytes that one typed array or buffer made in it was asked to hold. */
export async function largestAllocation(work: () => Promise<void>): Promise<number> {
  let largest = 0;
  const scope = globalThis as unknown as Record<string, new (...args: unknown[]) => unknown>;
  const originals = typedArrays.map((name) => scope[name]);
  const { alloc, allocUnsafe } = Buffer;
  const note = (size: number): void => {
    largest = Math.max(largest, size);
    // A claim that is believed must not bring the test machine down.
    if (size > 2 ** 30) throw new Error(`an array of ${size} bytes was asked for`);
  };
  typedArrays.forEach((name, i) => {
    const original = originals[i];
    scope[name] = new Proxy(original, {
      construct(target, args, newTarget) {
        if (typeof args[0] === 'number')
          note(args[0] * (target as unknown as { BYTES_PER_ELEMENT: number }).BYTES_PER_ELEMENT);
        return Reflect.construct(target, args, newTarget === scope[name] ? target : newTarget) as object;
      },
    });
  });
  Buffer.alloc = (size: number, ...rest: []) => {
    note(size);
    return alloc(size, ...rest);
  };
  Buffer.allocUnsafe = (size: number) => {
    note(size);
    return allocUnsafe(size);
  };
  try {
    await work();
  } finally {
    typedArrays.forEach((name, i) => {
      scope[name] = originals[i];
    });
    Object.assign(Buffer, { alloc, allocUnsafe });
  }
  return largest;
}
