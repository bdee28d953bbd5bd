// @ts-check
/** The least that a Node process has to do to start ssh. */
import {spawn} from 'node:child_process';
import process from 'node:process';

spawn(process.env['AUTOSSH_PATH'] ?? 'ssh', [], {stdio: 'ignore'});
