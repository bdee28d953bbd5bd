export * from './events.js';
export * from './fixtures.js';
export * from './namespaces.js';
export * from './ports.js';
export * from './processes.js';
export * from './relay.js';
export * from './servers.js';
export * from './sshd.js';
