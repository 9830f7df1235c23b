/** The bounded queue, the memory budget, and errors between threads. */
import { expect } from 'chai';
import { DeepHessianError } from '../../ts/errors.js';
import { EventQueue } from '../../ts/jobs/event-queue.js';
import { MemoryBudget } from '../../ts/jobs/memory-budget.js';
import { packError, unpackError } from '../../ts/jobs/thread-errors.js';
import { rejection } from './helpers.js';

const odd = (entry: number): boolean => entry % 2 === 1;

describe('event queue', () => {
  it('hands out entries in order and ends, with or without an error', async () => {
    const queue = new EventQueue<number>(10, 'wait', odd, null, () => undefined);
    queue.push(1);
    queue.push(2);
    queue.end();
    queue.push(3);
    const taken: number[] = [];
    for await (const entry of queue) taken.push(entry);
    expect(taken).to.deep.equal([1, 2]);

    const failing = new EventQueue<number>(10, 'wait', odd, null, () => undefined);
    const waiting = failing.next();
    failing.end(new Error('broken'));
    expect((await rejection(waiting)).message).to.equal('broken');
    expect((await failing.next()).done).to.equal(true);
  });

  it('is full at its capacity until it is read, and says when there is room', async () => {
    let room = 0;
    const queue = new EventQueue<number>(2, 'wait', odd, null, () => room++);
    queue.push(1);
    expect(queue.full).to.equal(false);
    queue.push(2);
    queue.push(4);
    expect(queue.full).to.equal(true);
    await queue.next();
    expect([queue.full, room]).to.deep.equal([true, 0]);
    await queue.next();
    expect([queue.full, room]).to.deep.equal([false, 1]);
    await queue.return();
    expect([queue.full, room]).to.deep.equal([false, 2]);
  });

  it('drops the oldest entries that may be missed and no others', async () => {
    const queue = new EventQueue<number>(3, 'drop', odd, null, () => undefined);
    for (const entry of [1, 2, 3, 4, 5, 6, 8]) queue.push(entry);
    queue.end();
    const taken: number[] = [];
    for await (const entry of queue) taken.push(entry);
    expect(taken).to.deep.equal([2, 4, 6, 8]);
    expect([queue.full, queue.dropped]).to.deep.equal([false, 3]);
  });
});

describe('memory budget', () => {
  it('is granted in the order of asking, and nobody overtakes', async () => {
    const budget = new MemoryBudget(100);
    const granted: string[] = [];
    const take = (name: string, bytes: number, signal?: AbortSignal): Promise<void> =>
      budget.take('test', bytes, signal).then(() => void granted.push(name));
    await take('a', 60);
    const large = take('large', 80);
    const small = take('small', 10);
    expect(budget.tryTake(1)).to.equal(false);
    await Promise.resolve();
    expect(granted).to.deep.equal(['a']);
    budget.release(60);
    await Promise.all([large, small]);
    expect(granted).to.deep.equal(['a', 'large', 'small']);
    expect(budget.free).to.equal(10);
  });

  it('lets those behind a cancelled request move up', async () => {
    const budget = new MemoryBudget(100);
    await budget.take('test', 60);
    const controller = new AbortController();
    const large = rejection(budget.take('test', 80, controller.signal));
    const small = budget.take('test', 30);
    controller.abort();
    expect(((await large) as DeepHessianError).code).to.equal('aborted');
    await small;
    expect(budget.free).to.equal(10);
    const already = (await rejection(budget.take('test', 1, controller.signal))) as DeepHessianError;
    expect(already.code).to.equal('aborted');
  });

  it('refuses more than there is in all', async () => {
    const refused = (await rejection(new MemoryBudget(100).take('test', 101))) as DeepHessianError;
    expect([refused.code, refused.details.bytes, refused.details.limit]).to.deep.equal(['out-of-memory', 101, 100]);
    expect(() => new MemoryBudget(0)).to.throw(RangeError);
  });
});

describe('errors between threads', () => {
  const travel = (error: unknown): Error => unpackError(structuredClone(packError(error)));

  it('keep class, message, code and details', () => {
    const original = new DeepHessianError('diverged', 'it did', {
      step: 3,
      at: Float64Array.of(1),
      when: { first: true },
      how: () => 1,
    });
    const copy = travel(original) as DeepHessianError;
    expect(copy).to.be.instanceOf(DeepHessianError);
    expect([copy.code, copy.message, copy.details.step, copy.stack]).to.deep.equal([
      'diverged',
      'it did',
      3,
      original.stack,
    ]);
    expect(copy.details.at).to.deep.equal(Float64Array.of(1));
    expect(copy.details.when).to.deep.equal({ first: true });
    expect(copy.details.how).to.be.a('string');
    expect(travel(new RangeError('far')))
      .to.be.instanceOf(RangeError)
      .with.property('message', 'far');
    expect(travel(new TypeError('odd'))).to.be.instanceOf(TypeError);
    expect(travel(Object.assign(new Error('no'), { code: 'ENOSPC' }))).to.have.property('code', 'ENOSPC');
    expect(travel('just text').message).to.equal('just text');
  });
});
