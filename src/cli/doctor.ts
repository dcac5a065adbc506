export async function runDoctor(_options: { json?: boolean }): Promise<void> {}
