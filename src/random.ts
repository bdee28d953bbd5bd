/** From Node's `crypto`, loaded on first use: an import takes it and all that it can export in turn with it, at every start. */
export function randomInt(from: number, to: number): number {
  return process.getBuiltinModule('node:crypto').randomInt(from, to);
}

/** As {@link randomInt}. */
export function randomBytes(size: number): Buffer {
  return process.getBuiltinModule('node:crypto').randomBytes(size);
}
