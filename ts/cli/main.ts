#!/usr/bin/env node
/** Entry point of the `deep-hessian` command. */
import { runCommandLine } from './program.js';
import { processTerminal } from './terminal.js';

process.exitCode = await runCommandLine(process.argv.slice(2), processTerminal());
