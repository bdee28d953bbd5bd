/** A vitest fixture: each test file that asks for `tunnel` gets one of its own, which is gone when the file is done. */
import {AutoSSH} from 'node-autossh';
import {test as base} from 'vitest';

const {SSH_HOST = 'localhost', SSH_CONFIG, TARGET = '127.0.0.1:22'} = process.env;

export const test = base.extend<{$file: {tunnel: AutoSSH}}>({
  tunnel: [
    // vitest reads from the first parameter which other fixtures this one wants: none.
    // eslint-disable-next-line no-empty-pattern
    async ({}, use) => {
      await using tunnel = await AutoSSH.open({
        host: SSH_HOST,
        ...(SSH_CONFIG && {configFile: SSH_CONFIG}),
        // No port: each file gets a free one, and files can run side by side.
        forwards: [{type: 'local', target: TARGET}],
      });
      await use(tunnel);
    },
    {scope: 'file'},
  ],
});
