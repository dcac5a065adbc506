import { defineConfig } from 'drizzle-kit';

export default defineConfig({
  dialect: 'postgresql',
  schema: ['./src/db/schema.ts', './src/db/schema-sync.ts'],
  out: './migrations',
  schemaFilter: ['calico'],
});
