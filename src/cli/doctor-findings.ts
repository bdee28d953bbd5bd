import {connectionRows} from './connection-findings.js';
import type {Facts, Finding} from './finding.js';
import {forwardRows} from './forward-findings.js';
import {heartbeatRows} from './heartbeat-findings.js';
import {loginRows} from './login-findings.js';

const rows = [...connectionRows, ...forwardRows, ...loginRows, ...heartbeatRows];

/** Everything there is to know about a command line before it is run. */
export function findings(facts: Facts): readonly Finding[] {
  return rows.flatMap((row) => row(facts));
}
