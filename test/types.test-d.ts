import {AutoSSH, AutoSSHError} from 'node-autossh';
import type {
  Address,
  AutoSSHErrorCode,
  AutoSSHEvents,
  AutoSSHOptions,
  AutoSSHStats,
  Forward,
  JumpHost,
  Outcome,
  Secret,
  StateName,
  StopReason,
} from 'node-autossh';
import {expectTypeOf, test} from 'vitest';

declare const tunnel: AutoSSH;

/** What the listener of an event is given. */
type Payload<Name extends keyof AutoSSHEvents> = Parameters<AutoSSHEvents[Name]>;

test('a tunnel is made from options, and opened from the same', () => {
  expectTypeOf(AutoSSH).toBeConstructibleWith({host: 'example.org'});
  expectTypeOf(AutoSSH).constructorParameters.toEqualTypeOf<[options: AutoSSHOptions]>();
  expectTypeOf(AutoSSH.open).parameters.toEqualTypeOf<[options: AutoSSHOptions]>();
  expectTypeOf(AutoSSH.open).returns.resolves.toEqualTypeOf<AutoSSH>();
});

test('what takes time gives a promise of nothing', () => {
  expectTypeOf(tunnel.start).returns.toEqualTypeOf<Promise<void>>();
  expectTypeOf(tunnel.ready).returns.toEqualTypeOf<Promise<void>>();
  expectTypeOf(tunnel.ready).toBeCallableWith({signal: AbortSignal.abort()});
  expectTypeOf(tunnel.restart).parameter(0).toEqualTypeOf<string | undefined>();
  expectTypeOf(tunnel.restart).returns.toEqualTypeOf<Promise<void>>();
  expectTypeOf(tunnel.stop).returns.toEqualTypeOf<Promise<void>>();
});

test('a tunnel can be held with await using', () => {
  expectTypeOf<AutoSSH>().toExtend<AsyncDisposable>();
});

test('a tunnel tells where it is', () => {
  expectTypeOf(tunnel.state).toEqualTypeOf<StateName>();
  expectTypeOf<StateName>().toEqualTypeOf<'idle' | 'starting' | 'up' | 'waiting' | 'stopping' | 'stopped'>();
  expectTypeOf(tunnel.pid).toEqualTypeOf<number | undefined>();
  expectTypeOf(tunnel.stats()).toEqualTypeOf<AutoSSHStats>();
  expectTypeOf(tunnel.ref()).toEqualTypeOf<AutoSSH>();
  expectTypeOf(tunnel.unref()).toEqualTypeOf<AutoSSH>();
});

test('a forward says what is really bound', () => {
  expectTypeOf(tunnel.forwards).toEqualTypeOf<readonly Forward[]>();
  expectTypeOf(tunnel.forward).toBeCallableWith('database');
  expectTypeOf(tunnel.forward).toBeCallableWith(1);
  expectTypeOf<Forward>().toHaveProperty('listen').toEqualTypeOf<Address>();
  expectTypeOf(tunnel.forward().listen.port).toEqualTypeOf<number | undefined>();
  expectTypeOf<Extract<Address, {port: number}>['host']>().toEqualTypeOf<string>();
});

test('a secret is a value or a function that fetches it, with a signal that says when nobody waits any more', () => {
  expectTypeOf(AutoSSH).toBeConstructibleWith({
    host: 'h',
    privateKey: Buffer.from(''),
    passphrase: async ({signal}) => (await fetch('https://vault.example', {signal})).text(),
    certificate: () => 'text',
    password: () => Promise.resolve('secret'),
    keyboardInteractive: (prompts) => prompts.map(() => 'answer'),
    agent: false,
    hostKey: ['SHA256:'],
    hostKeyCheck: 'accept-new',
    jump: ['a', {host: 'b', username: 'me', port: 22, privateKey: () => new Uint8Array(), hostKey: 'SHA256:'}],
  });
  expectTypeOf<Secret>().extract<string>().toEqualTypeOf<string>();
  expectTypeOf<AutoSSHOptions['hostKeyCheck']>().toEqualTypeOf<'strict' | 'accept-new' | undefined>();
  // @ts-expect-error There is no way to switch the check off here.
  expectTypeOf(AutoSSH).toBeConstructibleWith({host: 'h', hostKeyCheck: 'no'});
  // Whoever writes the type of the prompts may write either.
  expectTypeOf((prompts: string[]) => prompts).toExtend<AutoSSHOptions['keyboardInteractive']>();
  expectTypeOf((prompts: readonly string[]) => prompts).toExtend<AutoSSHOptions['keyboardInteractive']>();
  expectTypeOf<JumpHost['host']>().toEqualTypeOf<string>();
});

test('state is read, never written', () => {
  // @ts-expect-error Only the tunnel itself changes its state.
  tunnel.state = 'up';
});

test('an option that does not exist, or is of another kind, does not compile', () => {
  expectTypeOf(AutoSSH).toBeConstructibleWith({host: 'example.org', heartbeat: false, gateTime: 0});
  // @ts-expect-error It is spelt gateTime.
  expectTypeOf(new AutoSSH({host: 'example.org', gatetime: 0}));
  // @ts-expect-error All times are numbers.
  expectTypeOf(new AutoSSH({host: 'example.org', gateTime: '30s'}));
  // @ts-expect-error There is no such mode.
  expectTypeOf(new AutoSSH({host: 'example.org', heartbeat: {mode: 'ping'}}));
  // @ts-expect-error A local forward has to lead somewhere.
  expectTypeOf(new AutoSSH({host: 'example.org', forwards: [{type: 'local', listen: 5432}]}));
});

test('every event has one payload, and a listener knows its type', () => {
  expectTypeOf<keyof AutoSSHEvents>().toEqualTypeOf<
    | 'state'
    | 'start'
    | 'connect'
    | 'heartbeat'
    | 'heartbeat-miss'
    | 'disconnect'
    | 'restart'
    | 'connection'
    | 'connection-end'
    | 'warning'
    | 'stderr'
    | 'fatal'
    | 'stop'
  >();
  expectTypeOf<Payload<keyof AutoSSHEvents>['length']>().toEqualTypeOf<1>();
  expectTypeOf<Payload<'state'>[0]>().toEqualTypeOf<{readonly from: StateName; readonly to: StateName}>();
  expectTypeOf<Payload<'start'>[0]>().toExtend<{starts: number; pid: number; command: string}>();
  expectTypeOf<Payload<'connect'>[0]>().toExtend<{starts: number; pid: number; elapsed: number}>();
  expectTypeOf<Payload<'connect'>[0]['forwards']>().toEqualTypeOf<readonly Forward[]>();
  expectTypeOf<Payload<'heartbeat'>[0]>().toExtend<{rtt: number; beats: number}>();
  expectTypeOf<Payload<'heartbeat-miss'>[0]>().toExtend<{misses: number; maxMisses: number; waited: number}>();
  expectTypeOf<Payload<'heartbeat-miss'>[0]['reason']>().toExtend<string>();
  expectTypeOf<Payload<'disconnect'>[0]>().toEqualTypeOf<{readonly outcome: Outcome; readonly uptime: number}>();
  expectTypeOf<Payload<'restart'>[0]>().toExtend<{outcome: Outcome; attempt: number; delay: number}>();
  expectTypeOf<Payload<'connection'>[0]>().toExtend<{id: number; forward: string; held: number}>();
  expectTypeOf<Payload<'connection-end'>[0]>().toExtend<{id: number; forward: string; duration: number}>();
  expectTypeOf<Payload<'connection-end'>[0]>().toExtend<{bytesSent: number; bytesReceived: number; cause?: string}>();
  expectTypeOf<Payload<'connection-end'>[0]['end']>().toEqualTypeOf<
    'finished' | 'cut' | 'client-gone' | 'refused' | 'gave-up' | 'target-failed'
  >();
  expectTypeOf<Payload<'warning'>[0]>().toExtend<{code: string; message: string}>();
  expectTypeOf<Payload<'stderr'>[0]>().toExtend<{line: string}>();
  expectTypeOf<Payload<'fatal'>[0]>().toEqualTypeOf<AutoSSHError>();
  expectTypeOf<Payload<'stop'>[0]>().toEqualTypeOf<{readonly reason: StopReason; readonly error?: AutoSSHError}>();
  expectTypeOf<StopReason>().toEqualTypeOf<'stopped' | 'aborted' | 'max-lifetime' | 'exit' | 'fatal'>();

  tunnel.on('connect', ({forwards}) => {
    expectTypeOf(forwards).toEqualTypeOf<readonly Forward[]>();
  });
  // @ts-expect-error There is no such event.
  tunnel.on('error', () => undefined);
});

test('an error has a stable code and the facts', () => {
  expectTypeOf<AutoSSHError>().toExtend<Error>();
  expectTypeOf<AutoSSHError['code']>().toEqualTypeOf<AutoSSHErrorCode>();
  expectTypeOf<'ERR_AUTOSSH_GAVE_UP'>().toExtend<AutoSSHErrorCode>();
  expectTypeOf<AutoSSHError['retryable']>().toEqualTypeOf<boolean>();
  expectTypeOf<AutoSSHError['exitCode']>().toEqualTypeOf<number | undefined>();
  expectTypeOf<AutoSSHError['signal']>().toEqualTypeOf<NodeJS.Signals | undefined>();
  expectTypeOf<AutoSSHError['stderr']>().toEqualTypeOf<readonly string[]>();
  expectTypeOf<AutoSSHError['hint']>().toEqualTypeOf<string>();
});

test('the last word on a restart may take its time', () => {
  type Restart = NonNullable<AutoSSHOptions['restart']>;
  expectTypeOf<NonNullable<Restart['shouldRestart']>>().parameter(0).toEqualTypeOf<Outcome>();
  expectTypeOf<NonNullable<Restart['shouldRestart']>>().returns.toEqualTypeOf<boolean | Promise<boolean>>();
});
