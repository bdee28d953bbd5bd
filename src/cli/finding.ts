import type {CommandLine} from '../index.js';
import {isLoopback} from './addresses.js';
import type {AskedForward, EffectiveConfiguration} from './effective-configuration.js';
import type {Machine} from './machine.js';

/** One thing to know about a command line. */
export interface Finding {
  /** `unknown`: nobody can tell without asking the server. */
  readonly severity: 'breaks' | 'risk' | 'fine' | 'unknown';
  readonly about: 'configuration' | 'heartbeat';
  readonly title: string;
  /** What happens. */
  readonly effect?: string;
  /** Options of ssh that mend it. */
  readonly options?: readonly string[];
  /** What else to write or to do. */
  readonly advice?: string;
}

/** All that findings are made of. */
export interface Facts {
  readonly line: CommandLine;
  readonly configuration: EffectiveConfiguration;
  readonly machine: Machine;
  /** Whether somebody sits there, who can type. */
  readonly terminal: boolean;
}

/** One row of the table of findings. */
export type Row = (facts: Facts) => readonly Finding[];

/** The value of a keyword as `ssh -G` prints it; empty where it prints none. */
export function valueOf({configuration}: Facts, keyword: string): string {
  return configuration.values.get(keyword)?.[0] ?? '';
}

/** Whether the server is this machine, with nothing on the way there. */
export function isThisMachine(facts: Facts): boolean {
  const isDirect = valueOf(facts, 'proxyjump') === '' && valueOf(facts, 'proxycommand') === '';
  return isDirect && isLoopback(valueOf(facts, 'hostname'));
}

/** What ssh does once it is connected. */
export function sessionOf(facts: Facts): 'none' | 'command' | 'shell' {
  if (valueOf(facts, 'sessiontype') === 'none') return 'none';
  return facts.configuration.command || valueOf(facts, 'remotecommand') !== '' ? 'command' : 'shell';
}

/** What autossh does when ssh exits with 0. */
export function afterSuccess({line}: Facts): string {
  return line.gateTime > 0 ? 'autossh takes that for a failed start and gives up' : 'autossh takes that for the end';
}

/** What autossh does when ssh exits with 255. */
export function afterFailure({line}: Facts): string {
  return line.gateTime > 0 ? 'autossh gives up at the first start' : 'autossh starts it again for ever';
}

/** The forwards that are not the heartbeat's. */
export function usersForwards({configuration}: Facts): readonly AskedForward[] {
  return configuration.forwards.filter(({origin}) => origin !== 'monitor');
}

/** A forward as it is written on the command line, or in the configuration if it comes from there. */
export function printed({kind, listen, target, origin}: AskedForward, host?: string): string {
  const address = host ?? ('port' in listen ? listen.host : undefined);
  const where = 'path' in listen ? listen.path : [...(address === undefined ? [] : [bracketed(address)]), listen.port];
  const place = typeof where === 'string' ? where : where.join(':');
  const plain = target?.replace(/^\[([^\]:]*)\]/, '$1');
  if (origin !== 'configuration') return `-${kind} ${plain === undefined ? place : `${place}:${plain}`}`;
  const keyword = {L: 'LocalForward', R: 'RemoteForward', D: 'DynamicForward'}[kind];
  return [keyword, place, ...(plain === undefined ? [] : [plain])].join(' ');
}

function bracketed(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}
