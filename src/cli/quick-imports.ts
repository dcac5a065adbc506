/**
 * Import it first, and for its effect. Node 24 parses a package's whole `exports` again for each file of it that is loaded:
 * drizzle-orm has 180 KB of them and a hundred files, which is three quarters of the time that a command takes to start.
 * What its files import of each other is found without; each of its entries is looked up once.
 */
import { type ResolveFnOutput, type ResolveHookContext, registerHooks } from 'node:module';

const PACKAGE = 'drizzle-orm';
const entries = new Map<string, ResolveFnOutput>();

registerHooks({
  resolve: (specifier, context, next) => {
    if (isOwnFile(specifier, context)) {
      return { url: new URL(specifier, context.parentURL).href, format: 'module', shortCircuit: true };
    }
    const isEntry = specifier === PACKAGE || specifier.startsWith(`${PACKAGE}/`);
    if (!isEntry || !context.conditions.includes('import')) return next(specifier, context);
    const found = entries.get(specifier) ?? next(specifier, context);
    entries.set(specifier, found);
    return { ...found, shortCircuit: true };
  },
});

/** One of the package's modules names another; `.cjs` files have their own ways. */
function isOwnFile(specifier: string, { parentURL = '' }: ResolveHookContext): boolean {
  const isModule = (name: string) => name.endsWith('.js');
  const isInside = parentURL.includes(`/node_modules/${PACKAGE}/`) && isModule(parentURL);
  return isInside && specifier.startsWith('.') && isModule(specifier);
}
