/** Runs in each test file, also in one whose process has run others before and has their modules still. */
import { afterAll } from 'vitest';
import { releaseDatabases } from './shared-database.ts';

afterAll(releaseDatabases);
