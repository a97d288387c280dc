// Bytes over the wire, against what was promised. `node tools/budget.js tracker|dashboard` fails beyond the budget.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const web = fileURLToPath(new URL("..", import.meta.url));
const BUDGETS = {
  tracker: { files: () => [join(web, "tracker/dist/quorate.js")], bytesMax: 1_300 },
  dashboard: { files: () => under(join(web, "dashboard/dist")), bytesMax: 150_000 },
};

function under(folder) {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? under(path) : [path];
  });
}

export function brotli(bytes) {
  return brotliCompressSync(bytes, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
  }).length;
}

const name = process.argv[2];
if (!(name in BUDGETS)) throw new Error(`no budget is called ${name}; there are ${Object.keys(BUDGETS).join(", ")}`);
const { files, bytesMax } = BUDGETS[name];
let total = 0;
for (const path of files()) {
  const bytes = readFileSync(path);
  const compressed = brotli(bytes);
  total += compressed;
  console.log(`${path.slice(web.length)}: ${bytes.length} bytes, gzip ${gzipSync(bytes, { level: 9 }).length}, brotli ${compressed}`);
}
console.log(`${name}: ${total} bytes with brotli, at most ${bytesMax}`);
if (total > bytesMax) process.exit(1);
