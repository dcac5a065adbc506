/**
 * The contract's zod schemas as plain functions, for records: hundreds of thousands of them come one after the other, nearly all are
 * sound, and zod makes two objects for each of their fields, a third of all that reading a page leaves to be collected.
 */
import type { z } from 'zod';

/** What does not fit its schema; zod says why. */
const MISFIT = Symbol('misfit');
type Read = (value: unknown) => unknown;

/** Reads as `schema.safeParse` does. What does not fit is zod's to explain, or to read after all. */
export function fastReader<Schema extends z.ZodObject>(
  schema: Schema,
): (value: unknown) => z.ZodSafeParseResult<z.output<Schema>> {
  const read = readOf(schema);
  return (value) => {
    const data = read(value);
    if (data === MISFIT) return schema.safeParse(value);
    return { success: true, data: data as z.output<Schema> };
  };
}

/** Of a zod 4 schema (`_zod.def`). What the contract's records do not use is left to zod itself, so that whoever corrects them may use it. */
function readOf(schema: z.core.$ZodType): Read {
  const { def } = (schema as z.core.$ZodTypes)._zod;
  const read = readOfType(schema as z.core.$ZodTypes) ?? slowly(schema);
  const tests = (def.checks ?? []).map(testOf);
  if (tests.length === 0) return read;
  if (tests.includes(null)) return slowly(schema);
  return (value) => {
    const result = read(value);
    for (const test of tests) if (result !== MISFIT && !test?.(result)) return MISFIT;
    return result;
  };
}

function readOfType(schema: z.core.$ZodTypes): Read | null {
  const { def } = schema._zod;
  switch (def.type) {
    case 'string':
      if ('format' in def || 'coerce' in def) return null;
      return (value) => (typeof value === 'string' ? value : MISFIT);
    case 'enum': {
      const known: ReadonlySet<unknown> = new Set(Object.values(def.entries));
      return (value) => (known.has(value) ? value : MISFIT);
    }
    case 'custom':
      return (value) => (holds(def.fn(value as never)) ? value : MISFIT);
    case 'optional': {
      const read = readOf(def.innerType);
      return (value) => (value === undefined ? value : read(value));
    }
    case 'nullable': {
      const read = readOf(def.innerType);
      return (value) => (value === null ? value : read(value));
    }
    case 'union': {
      if (def.inclusive === false) return null; // exactly one, not the first
      const reads = def.options.map(readOf);
      return (value) => firstFit(reads, value);
    }
    case 'pipe': {
      const [read, next] = [readOf(def.in), readOf(def.out)];
      return (value) => {
        const result = read(value);
        return result === MISFIT ? result : next(result);
      };
    }
    case 'transform':
      return transformOf(def.transform);
    case 'array': {
      const read = readOf(def.element);
      return (value) => readAll(read, value);
    }
    case 'unknown':
      return (value) => value;
    case 'object': {
      const ofRest = def.catchall?._zod.def.type;
      return ofRest === undefined || ofRest === 'unknown' ? objectOf(def.shape, ofRest !== undefined) : null;
    }
    default:
      return null;
  }
}

function slowly(schema: z.core.$ZodType): Read {
  const { safeParse } = schema as z.ZodType;
  return (value) => {
    const { success, data } = safeParse(value);
    return success ? data : MISFIT;
  };
}

function firstFit(reads: readonly Read[], value: unknown): unknown {
  for (const read of reads) {
    const result = read(value);
    if (result !== MISFIT) return result;
  }
  return MISFIT;
}

function readAll(read: Read, value: unknown): unknown {
  if (!Array.isArray(value)) return MISFIT;
  const results: unknown[] = [];
  for (const one of value) {
    const result = read(one);
    if (result === MISFIT) return result;
    results.push(result);
  }
  return results;
}

/** zod refuses to wait in `safeParse`, and says so. */
const holds = (result: unknown) => Boolean(result) && !(result instanceof Promise);

/** A transform says what is wrong through its context. */
function transformOf(transform: (value: never, context: never) => unknown): Read {
  const issues: unknown[] = [];
  const context = {
    value: undefined as unknown,
    issues,
    addIssue: (issue: unknown) => void issues.push(issue),
  };
  return (value) => {
    issues.length = 0;
    context.value = value;
    const result = transform(value as never, context as never);
    return issues.length > 0 || result instanceof Promise ? MISFIT : result;
  };
}

/** `isLoose`: fields that it does not name stay. */
function objectOf(shape: Readonly<Record<string, z.core.$ZodType>>, isLoose: boolean): Read {
  const fields = Object.entries(shape).map(([name, field]) => ({
    name,
    read: readOf(field),
    mustBe: field._zod.optin === undefined,
  }));
  return (value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || JSON.isRawJSON(value))
      return MISFIT;
    const result: Record<string, unknown> = isLoose ? { ...value } : {};
    for (const { name, read, mustBe } of fields) {
      const source = (value as Record<string, unknown>)[name];
      const isAbsent = source === undefined && !(name in value);
      const part = isAbsent && mustBe ? MISFIT : read(source);
      if (part === MISFIT) return part;
      if (!isAbsent || part !== undefined) result[name] = part;
    }
    return result;
  };
}

/** A check that is none of these: null. */
function testOf(check: z.core.$ZodCheck<never>): ((value: unknown) => boolean) | null {
  const def = check._zod.def as {
    check: string;
    minimum?: number;
    fn?: (value: unknown) => unknown;
    when?: unknown;
  };
  const { check: kind, minimum, fn, when } = def;
  if (kind === 'min_length' && minimum !== undefined) return (value) => (value as string).length >= minimum;
  return kind === 'custom' && fn && !when ? (value) => holds(fn(value)) : null;
}
