// What the binary embeds: `node tools/embed.js` copies the built files to `embedded/`, each also compressed;
// `--check` fails where what is there is not what the sources build. So that building the binary needs no Node.
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants } from "node:zlib";

const web = fileURLToPath(new URL("..", import.meta.url));
const embedded = join(web, "embedded");

function under(folder, inside = "") {
  return readdirSync(join(folder, inside)).flatMap((name) => {
    const path = join(inside, name);
    return statSync(join(folder, path)).isDirectory() ? under(folder, path) : [path];
  });
}

const files = new Map(under(join(web, "dashboard/dist")).map((name) => [join("dashboard", name), join(web, "dashboard/dist", name)]));
files.set("quorate.js", join(web, "tracker/dist/quorate.js"));

if (process.argv.includes("--check")) {
  const wrong = [...files].filter(([name, path]) => !existsSync(join(embedded, name)) || !readFileSync(path).equals(readFileSync(join(embedded, name))));
  const left = under(embedded).filter((name) => !files.has(name.replace(/\.br$/, "")));
  for (const [name] of wrong) console.log(`embedded/${name} is not what the sources build`);
  for (const name of left) console.log(`embedded/${name} is built from nothing`);
  if (wrong.length + left.length > 0) {
    console.log("run `npm run build && npm run embed`, and commit the result");
    process.exit(1);
  }
} else {
  rmSync(embedded, { recursive: true, force: true });
  for (const [name, path] of files) {
    const to = join(embedded, name);
    mkdirSync(dirname(to), { recursive: true });
    cpSync(path, to);
    const bytes = readFileSync(path);
    const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
    writeFileSync(`${to}.br`, brotliCompressSync(bytes, { params }));
  }
  console.log(`${files.size} files in embedded/`);
}
