import { copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import sharp, { type Sharp } from 'sharp';
import { BatchSampler } from '../../ts/data/batch-sampler.js';
import { ImageFolder, readImageFolders } from '../../ts/data/image-folder.js';
import { expectFailure, expectMisuse, sharedPath, temporaryFolder } from './helpers.js';

/** A plain colour. */
function colour(red: number, green: number, blue: number, width = 24, height = 24): Sharp {
  return sharp({ create: { width, height, channels: 3, background: { r: red, g: green, b: blue } } });
}

describe('image folder', () => {
  const folder = temporaryFolder();
  const put = (path: string, content: Uint8Array): string => {
    const whole = folder.path(path);
    mkdirSync(dirname(whole), { recursive: true });
    writeFileSync(whole, content);
    return whole;
  };

  it('reads chosen files, and some of a list, as it loads them all', async () => {
    for (const [name, red] of [
      ['a/1', 10],
      ['a/2', 90],
      ['b/1', 200],
    ] as const)
      put(`some/${name}.png`, await colour(red, 20, 30).png().toBuffer());
    const bad = put('some/b/2.png', Buffer.from('not an image'));
    const options = { imageSize: 2, normalise: 'standardised' } as const;
    const { dataset, channels } = await (await ImageFolder.open(folder.path('some'), options)).load();
    const images = await ImageFolder.open(folder.path('some'), { ...options, channels: channels! });
    const { inputs, indices } = await images.read(Int32Array.of(3, 2, 0));
    expect([...indices]).to.deep.equal([2, 0]);
    expect(inputs).to.deep.equal(Float64Array.of(...dataset.inputs.slice(24), ...dataset.inputs.slice(0, 12)));
    expect(images.broken.map(({ path }) => path)).to.deep.equal([bad]);
    const chosen = await ImageFolder.ofFiles([folder.path('some/b/1.png')], { ...options, channels: channels! });
    expect((await chosen.read(Int32Array.of(0))).inputs).to.deep.equal(dataset.inputs.slice(24));
    await expectMisuse(chosen.load(), RangeError, /labels\[0\]/);
    await expectMisuse(chosen.read(Int32Array.of(1)), RangeError, /rows/);
    await expectMisuse((await ImageFolder.ofFiles([bad], options)).read(Int32Array.of(0)), RangeError, /channels/);
    const strict = await ImageFolder.ofFiles([bad], { imageSize: 2, broken: 'fail' });
    await expectFailure(strict.read(Int32Array.of(0)), 'bad-file', /some.b.2\.png: expected an image/);
    await expectMisuse(ImageFolder.ofFiles([], { imageSize: 0 }), RangeError, /imageSize/);
  });

  it('labels by sorted folder, stores channel by channel, reads jpeg, png and webp', async () => {
    put('plain/b/one.png', await colour(255, 0, 0).png().toBuffer());
    put('plain/a/two.WEBP', await colour(0, 255, 0).webp({ lossless: true }).toBuffer());
    put('plain/a/three.jpeg', await colour(0, 0, 255).jpeg({ quality: 100, chromaSubsampling: '4:4:4' }).toBuffer());
    put('plain/a/notes.txt', Buffer.from('not an image'));
    put('plain/a/.hidden.png', Buffer.from('not an image'));
    put('plain/readme.png', Buffer.from('not in a class'));
    const { dataset, broken } = await (await ImageFolder.open(folder.path('plain'), { imageSize: 2 })).load();
    expect(broken).to.deep.equal([]);
    expect(dataset.classes).to.deep.equal(['a', 'b']);
    expect([...(dataset.labels ?? [])]).to.deep.equal([0, 0, 1]);
    const [three, two, one] = [0, 1, 2].map((n) => dataset.inputs.subarray(12 * n, 12 * n + 12));
    expect([...one]).to.deep.equal([1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect([...two]).to.deep.equal([0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]);
    // JPEG's colour transform rounds: within 2 of 255.
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1].forEach((x, i) => expect(three[i]).to.be.closeTo(x, 2 / 255));
  });

  it('turns by EXIF, reads grey, 16 bit, palette, transparent and CMYK files as sRGB', async () => {
    // Left half red, right half blue; stored turned, with the orientation that says so.
    const upright = await sharp({ create: { width: 40, height: 20, channels: 3, background: '#0000ff' } })
      .composite([{ input: await colour(255, 0, 0, 20, 20).png().toBuffer(), left: 0, top: 0 }])
      .png()
      .toBuffer();
    const turned = await sharp(upright).rotate(-90).withMetadata({ orientation: 6 }).jpeg({ quality: 100 }).toBuffer();
    expect((await sharp(turned).metadata()).width).to.equal(20);
    put('kinds/x/1-exif.jpg', turned);
    put('kinds/x/2-grey.jpg', await colour(128, 128, 128).toColourspace('b-w').jpeg({ quality: 100 }).toBuffer());
    const sixteen = new Uint16Array(64).fill(32896); // 128 * 257
    const wide = sharp(sixteen, { raw: { width: 8, height: 8, channels: 1 } })
      .toColourspace('grey16')
      .png();
    put('kinds/x/3-16bit.png', await wide.toBuffer());
    put('kinds/x/4-palette.png', await colour(10, 200, 30).png({ palette: true }).toBuffer());
    const clear = sharp({ create: { width: 8, height: 8, channels: 4, background: { r: 0, g: 0, b: 0, alpha: 0 } } });
    put('kinds/x/5-clear.png', await clear.png().toBuffer());
    put('kinds/x/6-cmyk.jpg', await colour(200, 40, 40).toColourspace('cmyk').jpeg({ quality: 100 }).toBuffer());
    const opened = await ImageFolder.open(folder.path('kinds'), { imageSize: 4, fit: 'fill' });
    expect((await sharp(readFileSync(opened.paths[1])).metadata()).channels).to.equal(1);
    expect((await sharp(readFileSync(opened.paths[2])).metadata()).depth).to.equal('ushort');
    expect((await sharp(readFileSync(opened.paths[5])).metadata()).space).to.equal('cmyk');
    const { dataset, broken } = await opened.load();
    expect(broken).to.deep.equal([]);
    const pixel = (n: number, y: number, x: number): number[] =>
      [0, 1, 2].map((c) => Math.round(255 * dataset.inputs[n * 48 + c * 16 + y * 4 + x]));
    const near = (found: number[], wanted: number[], by: number): void =>
      wanted.forEach((value, c) => expect(found[c], `[${found.join()}]`).to.be.closeTo(value, by));
    // Upright again: red on the left in every row, blue on the right (chroma blurs near the edge only).
    for (const y of [0, 3]) {
      near(pixel(0, y, 0), [255, 0, 0], 8);
      near(pixel(0, y, 3), [0, 0, 255], 8);
    }
    near(pixel(1, 1, 1), [128, 128, 128], 1);
    near(pixel(2, 1, 1), [128, 128, 128], 1);
    near(pixel(3, 1, 1), [10, 200, 30], 1);
    near(pixel(4, 1, 1), [255, 255, 255], 0);
    // Through the CMYK profile and back: the hue is kept, levels to within the profile's gamut.
    near(pixel(5, 1, 1), [200, 40, 40], 25);
  });

  it("'cover' cuts the middle out, 'fill' squeezes", async () => {
    const wide = await sharp({ create: { width: 60, height: 20, channels: 3, background: '#ffffff' } })
      .composite([{ input: await colour(0, 0, 0, 20, 20).png().toBuffer(), left: 20, top: 0 }])
      .png()
      .toBuffer();
    put('fit/x/a.png', wide);
    const cover = await (await ImageFolder.open(folder.path('fit'), { imageSize: 6 })).load();
    const mean = (x: Float64Array): number => x.reduce((a, b) => a + b, 0) / x.length;
    expect(mean(cover.dataset.inputs)).to.be.below(0.05);
    const fill = await (await ImageFolder.open(folder.path('fit'), { imageSize: 6, fit: 'fill' })).load();
    expect(mean(fill.dataset.inputs)).to.be.closeTo(2 / 3, 0.05);
  });

  it('names and skips broken files, or fails', async () => {
    const noise = Buffer.from(Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 2654435761) >>> 24));
    const whole = await sharp(noise, { raw: { width: 64, height: 64, channels: 3 } })
      .jpeg({ quality: 95 })
      .toBuffer();
    put('broken/x/1.jpg', whole);
    put('broken/x/2.jpg', whole.subarray(0, whole.length >> 1));
    put('broken/x/3.png', Buffer.from('no image at all'));
    put('broken/x/4.jpg', Buffer.alloc(0));
    put('broken/x/5.jpg', whole);
    const { dataset, broken } = await (await ImageFolder.open(folder.path('broken'), { imageSize: 8 })).load();
    expect(dataset.samples).to.equal(2);
    expect(broken.map(({ path }) => path.slice(-5))).to.deep.equal(['2.jpg', '3.png', '4.jpg']);
    for (const { reason } of broken) expect(reason).not.to.equal('');
    const strict = await ImageFolder.open(folder.path('broken'), { imageSize: 8, broken: 'fail' });
    await expectFailure(strict.load(), 'bad-file', /broken\/x\/[234]\.(jpg|png): expected an image that decodes/);
    put('hopeless/x/1.jpg', Buffer.from('x'));
    const hopeless = await ImageFolder.open(folder.path('hopeless'), { imageSize: 8 });
    await expectFailure(hopeless.load(), 'bad-file', /none of 1 images/);
    const small = await ImageFolder.open(folder.path('broken'), { imageSize: 8, maxPixels: 1000 });
    await expectFailure(small.load(), 'bad-file', /none of 5 images.*pixel limit/);
  });

  it('refuses links that leave the folder, follows those inside', async () => {
    const image = put('linked/x/real.png', await colour(1, 2, 3).png().toBuffer());
    symlinkSync(image, folder.path('linked/x/inside.png'));
    expect((await ImageFolder.open(folder.path('linked'), { imageSize: 2 })).samples).to.equal(2);
    // Links that lead nowhere, or round in a circle, are broken files like others.
    symlinkSync(folder.path('gone.png'), folder.path('linked/x/dangling.png'));
    symlinkSync(folder.path('linked/x/circle.png'), folder.path('linked/x/circle.png'));
    const { dataset, broken } = await (await ImageFolder.open(folder.path('linked'), { imageSize: 2 })).load();
    expect(dataset.samples).to.equal(2);
    expect(broken.map(({ path }) => path.replace(/.*\//, ''))).to.deep.equal(['circle.png', 'dangling.png']);
    await expectFailure(
      (await ImageFolder.open(folder.path('linked'), { imageSize: 2, broken: 'fail' })).load(),
      'bad-file',
      /circle\.png|dangling\.png/,
    );
    const outside = put('secret/secret.png', await colour(9, 9, 9).png().toBuffer());
    symlinkSync(outside, folder.path('linked/x/outside.png'));
    await expectFailure(
      ImageFolder.open(folder.path('linked'), { imageSize: 2 }),
      'bad-file',
      /outside\.png.*stay inside/,
    );
    put('linked2/x/real.png', await colour(1, 2, 3).png().toBuffer());
    symlinkSync(folder.path('secret'), folder.path('linked2/y'));
    await expectFailure(
      ImageFolder.open(folder.path('linked2'), { imageSize: 2 }),
      'bad-file',
      /linked2\/y.*stay inside/,
    );
  });

  it('says what is missing or wrong', async () => {
    await expectFailure(ImageFolder.open(folder.path('absent'), { imageSize: 2 }), 'io', /absent/);
    mkdirSync(folder.path('empty/x'), { recursive: true });
    await expectFailure(
      ImageFolder.open(folder.path('empty'), { imageSize: 2 }),
      'io',
      /looked for <class>\/\*\.jpg.*1 class/,
    );
    await expectMisuse(ImageFolder.open(folder.path('empty'), { imageSize: 0 }), RangeError, /imageSize/);
    await expectMisuse(
      ImageFolder.open(folder.path('empty'), { size: 1 } as never),
      RangeError,
      /unknown option 'size'/,
    );
  });

  it('streams the same batches as the loaded set holds, resumes from a stored state, skips broken files', async () => {
    for (let i = 0; i < 11; i++) {
      put(
        `stream/${i % 2 ? 'odd' : 'even'}/${String(i).padStart(2, '0')}.png`,
        await colour(20 * i, 0, 0)
          .png()
          .toBuffer(),
      );
    }
    put('stream/odd/99.png', Buffer.from('broken'));
    const options = { imageSize: 2, grey: true, concurrency: 3 };
    const { dataset } = await (await ImageFolder.open(folder.path('stream'), options)).load();
    const opened = await ImageFolder.open(folder.path('stream'), options);
    const make = (): BatchSampler => new BatchSampler(opened.samples, { batchSize: 5, seed: 3 });
    const collect = async (sampler: BatchSampler, count: number, prefetch: number): Promise<string[]> => {
      const seen: string[] = [];
      for await (const batch of opened.batches(sampler, { prefetch })) {
        for (let n = 0; n < batch.samples; n++) {
          // The broken file is the last of its list: rows below it are the same in both.
          const row = batch.indices[n];
          expect([...batch.inputs.subarray(4 * n, 4 * n + 4)]).to.deep.equal([
            ...dataset.inputs.subarray(4 * row, 4 * row + 4),
          ]);
          expect(batch.targets[n]).to.equal(dataset.labels?.[row]);
        }
        seen.push(`${[...batch.indices].join()} ${JSON.stringify(batch.state)}`);
        if (seen.length === count) break;
      }
      return seen;
    };
    const eager = await collect(make(), 7, 4);
    expect(await collect(make(), 7, 0)).to.deep.equal(eager);
    expect(opened.broken.map(({ path }) => path.slice(-6))).to.deep.equal(['99.png']);
    // What was prefetched beyond the third batch is not lost: its state resumes with the fourth.
    const resumed = make();
    resumed.restore(JSON.parse(eager[2].slice(eager[2].indexOf('{'))));
    expect(await collect(resumed, 4, 2)).to.deep.equal(eager.slice(3));
    const stop = new AbortController();
    stop.abort();
    await expectFailure(opened.batches(make(), { signal: stop.signal }).next(), 'aborted', /cancelled/);
    await expectMisuse(opened.batches(new BatchSampler(3, { batchSize: 1 })).next(), RangeError, /sampler over 12/);
    const scaled = await ImageFolder.open(folder.path('stream'), { ...options, normalise: 'standardised' });
    await expectMisuse(scaled.batches(make()).next(), RangeError, /channels/);
  });

  it('reads real photos: EXIF orientation, grey, CMYK, a truncated file', async function () {
    const path = sharedPath(this, 'data/photos');
    const { train, test, broken } = await readImageFolders(path, { imageSize: 32 });
    expect(train.classes).to.have.length(7);
    expect([train.samples, test?.samples, broken.length]).to.deep.equal([8, 2, 0]);
    mkdirSync(folder.path('edge/elephant'), { recursive: true });
    const names = ['african_elephants_bw.jpg', 'african_elephants_cmyk.jpg', 'african_elephants_truncated_file.jpg'];
    for (const name of names) copyFileSync(join(path, 'edge_cases', name), folder.path(`edge/elephant/${name}`));
    const edge = await (await ImageFolder.open(folder.path('edge'), { imageSize: 32 })).load();
    expect(edge.broken.map((item) => item.path.slice(-18))).to.deep.equal(['truncated_file.jpg']);
    // The same photo in colour (train, first class), grey and CMYK: their grey levels agree.
    const luma = (inputs: Float64Array, n: number): number[] => {
      const x = inputs.subarray(n * 3072, (n + 1) * 3072);
      return Array.from({ length: 1024 }, (_, i) => 0.299 * x[i] + 0.587 * x[1024 + i] + 0.114 * x[2048 + i]);
    };
    const original = luma(train.inputs, 0);
    const difference = (other: number[]): number =>
      other.reduce((sum, x, i) => sum + Math.abs(x - original[i]), 0) / 1024;
    expect(difference(luma(edge.dataset.inputs, 0))).to.be.below(0.03);
    expect(difference(luma(edge.dataset.inputs, 1))).to.be.below(0.08);
    // The turned copy in val is stored 1536 x 2048 with orientation 6. Upright it is the same scene: unturned it would be
    // as far from the original as an unrelated picture.
    expect(difference(luma(test?.inputs ?? new Float64Array(0), 0))).to.be.below(0.03);
  });
});
