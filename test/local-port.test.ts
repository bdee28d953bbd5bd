import {readFileSync} from 'node:fs';
import {describe, expect, test} from 'vitest';
import {freePort, portsToChooseFrom} from '../src/local-port.js';
import {canListen} from './support/index.js';

describe('a free port', () => {
  test('can be listened on', async () => {
    expect(await canListen(await freePort('127.0.0.1'))).toBe(true);
    expect(await canListen(await freePort('::1'), '::1')).toBe(true);
  });

  test.runIf(process.platform === 'linux')(
    'is none of those that the kernel takes for outgoing connections',
    async () => {
      const range = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').trim().split(/\s+/).map(Number);
      const ports = await Promise.all(Array.from({length: 50}, async () => freePort('127.0.0.1')));
      const outgoing = ports.filter((port) => port >= (range[0] ?? 0) && port <= (range[1] ?? 0));
      expect(portsToChooseFrom({from: range[0] ?? 0, to: (range[1] ?? 0) + 1})).toBeDefined();
      expect(outgoing).toEqual([]);
    },
  );

  test('of an address that this machine has not is refused with the reason of the system', async () => {
    await expect(freePort('192.0.2.1')).rejects.toMatchObject({code: 'EADDRNOTAVAIL'});
  });
});

test.each([
  ['Linux', {from: 32_768, to: 61_000}, {from: 10_240, to: 32_768}],
  ['macOS', {from: 49_152, to: 65_536}, {from: 10_240, to: 32_768}],
  ['a busy proxy', {from: 15_000, to: 61_000}, {from: 10_240, to: 15_000}],
  ['nearly all below', {from: 11_000, to: 61_000}, {from: 61_000, to: 65_536}],
  ['none below', {from: 1_024, to: 60_000}, {from: 60_000, to: 65_536}],
  ['all', {from: 1_024, to: 65_536}, undefined],
  ['nearly all', {from: 11_000, to: 65_000}, undefined],
  ['below only', {from: 1_024, to: 5_000}, {from: 10_240, to: 65_536}],
])('where outgoing connections take the ports of %s', (_, outgoing, expected) => {
  expect(portsToChooseFrom(outgoing)).toEqual(expected);
});
