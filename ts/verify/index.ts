export {
  findDrift,
  verificationGroups,
  verify,
  type Drift,
  type VerificationGroup,
  type VerificationReport,
  type VerifyOptions,
} from './verification.js';
export type { Verdict } from './verdict.js';
