/**
 * The library's own error class, for failures that are not misuse.
 *
 * Misuse (a wrong type, a wrong shape, a value out of range) is a `TypeError` or `RangeError` from
 * `checks.ts`. Everything that can go wrong although the call was right is a {@link DeepHessianError}
 * with a `code` from a closed list and the figures that explain it.
 */

/** Closed list of failure codes, each with the sentence that explains it. */
export const errorCodes = {
  'tolerance-missed': 'The solve ended above the residual that was asked for.',
  singular: 'The matrix, shifted by the damping, is singular to working precision.',
  'not-positive-definite': 'A positive definite matrix was required and a non-positive pivot met.',
  'inertia-untrusted': 'Rounding in the factor is too large for its pivot signs to be trusted.',
  'out-of-memory': 'The job needs more memory than is available.',
  'no-convergence': 'An iteration reached its limit before its tolerance.',
  diverged: 'The loss or a parameter stopped being finite.',
  'bad-file': 'A file is truncated, corrupt or of another format.',
  io: 'Reading or writing a file failed.',
  unsupported: 'The requested combination is not supported.',
  'native-unavailable': 'The native core could not be loaded.',
  'device-unavailable': 'The requested device is not available.',
  'device-lost': 'The device failed while it worked, and what was in its memory is gone.',
  'device-failed': 'A library call on the device failed.',
  aborted: 'The operation was cancelled by its caller.',
  'worker-lost': 'The worker thread that held the work ended.',
} as const;

/** Code of a {@link DeepHessianError}: a key of {@link errorCodes}. */
export type ErrorCode = keyof typeof errorCodes;

/** A failure of a correctly called operation. `details` carries the figures. */
export class DeepHessianError extends Error {
  /** What went wrong, for programs. */
  readonly code: ErrorCode;
  /** The figures behind the message. */
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, details: Record<string, unknown> = {}, options?: ErrorOptions) {
    super(message, options);
    this.name = 'DeepHessianError';
    this.code = code;
    this.details = details;
  }
}
