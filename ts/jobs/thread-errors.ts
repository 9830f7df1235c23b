/**
 * Errors on their way between threads. Structured cloning keeps only name and message of an error, so class, code and
 * details travel as plain data and are put together again on the other side.
 */
import { DeepHessianError, errorCodes, type ErrorCode } from '../errors.js';

/** An error as plain data. */
export interface ThreadError {
  kind: 'DeepHessianError' | 'TypeError' | 'RangeError' | 'Error';
  message: string;
  stack: string | undefined;
  code: string | undefined;
  details: Record<string, unknown>;
}

/** What of `details` can be cloned: numbers, texts, flags, typed arrays, and plain objects and lists of these. */
function plain(value: unknown, depth = 0): unknown {
  if (value === null || ['number', 'string', 'boolean', 'undefined'].includes(typeof value)) return value;
  if (ArrayBuffer.isView(value)) return value;
  if (typeof value !== 'object' || depth > 4) return `[${typeof value}]`;
  if (Array.isArray(value)) return value.map((inner) => plain(inner, depth + 1));
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner, depth + 1)]));
}

/** Any thrown value as plain data. */
export function packError(error: unknown): ThreadError {
  const { message, stack } = error instanceof Error ? error : { message: String(error), stack: undefined };
  if (error instanceof DeepHessianError) {
    const details = plain(error.details) as Record<string, unknown>;
    return { kind: 'DeepHessianError', message, stack, code: error.code, details };
  }
  const kind = error instanceof TypeError ? 'TypeError' : error instanceof RangeError ? 'RangeError' : 'Error';
  const code = (error as { code?: unknown } | null)?.code;
  return { kind, message, stack, code: typeof code === 'string' ? code : undefined, details: {} };
}

/** The error again, of its class, with the stack of the thread where it was thrown. */
export function unpackError({ kind, message, stack, code, details }: ThreadError): Error {
  let error: Error;
  if (kind === 'DeepHessianError' && code !== undefined && Object.hasOwn(errorCodes, code))
    error = new DeepHessianError(code as ErrorCode, message, details);
  else if (kind === 'TypeError') error = new TypeError(message);
  else if (kind === 'RangeError') error = new RangeError(message);
  else error = Object.assign(new Error(message), code === undefined ? {} : { code });
  if (stack !== undefined) error.stack = stack;
  return error;
}
