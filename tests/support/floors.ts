/** Imports that do not keep to the floors of docs/architecture.md. Pure. */
import { dirname, join } from "node:path/posix";
import ts from "typescript";

export const uses = ["nothing", "Node", "Pulumi"] as const;

export interface Floor {
  /** A file, or a folder with its slash; `*` stands for each folder by itself. */
  readonly path: string;
  readonly mayUse: (typeof uses)[number];
}

/** The rows of the first table, from the top. */
export function readFloors(markdown: string): Floor[] {
  const [, rows = ""] = /^\| folder \| holds \| may use \|\n\|[-|]+\|\n((?:\|.*\n?)+)/m.exec(markdown) ?? [];
  return rows
    .trimEnd()
    .split("\n")
    .map((row) => {
      const [, path, word] = /^\| `([^`]+)` \|.*\| ([^|]*) \|\s*$/.exec(row) ?? [];
      const mayUse = uses.find((use) => use === word);
      if (path === undefined || mayUse === undefined) throw new Error(`no row of the table of floors (${uses.join(", ")}): ${row}`);
      return { path, mayUse };
    });
}

interface Place extends Floor {
  readonly row: number;
  /** The path with what `*` stands for. */
  readonly room: string;
}

function placeOf(file: string, floors: readonly Floor[]): Place | undefined {
  const places = floors.flatMap((floor, row) => {
    const pattern = floor.path.split("*").map((part) => part.replaceAll(".", "\\."));
    const [room] = new RegExp(`^${pattern.join("[^/]+")}`).exec(file) ?? [];
    return room === undefined || (!room.endsWith("/") && room !== file) ? [] : [{ ...floor, row, room }];
  });
  return places.sort((a, b) => b.path.length - a.path.length)[0];
}

function targetOf(file: string, specifier: string, files: ReadonlyMap<string, string>): string {
  const base = join(dirname(file), specifier);
  const stem = base.replace(/\.js$/, "");
  return [base, ...endings.flatMap((ending) => [`${stem}${ending}`, `${stem}/index${ending}`])].find((path) => files.has(path)) ?? base;
}

/** Of programs. */
export const endings = [".ts", ".tsx", ".mts", ".cts", ".cjs", ".mjs"];

/** What a file names in import, export, import(), require() and import = require(); types too. */
function specifiers(file: string, text: string): string[] {
  const found: string[] = [];
  const take = (node: ts.Node | undefined): void => {
    if (node !== undefined && ts.isStringLiteralLike(node)) found.push(node.text);
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) take(node.moduleSpecifier);
    else if (ts.isExternalModuleReference(node)) take(node.expression);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) take(node.argument.literal);
    else if (ts.isCallExpression(node)) {
      const callee = node.expression;
      if (callee.kind === ts.SyntaxKind.ImportKeyword || (ts.isIdentifier(callee) && callee.text === "require")) take(node.arguments[0]);
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, false));
  return found;
}

/** What is random or hashed by no state of the machine is no use of Node. */
const isPurePackage = (name: string): boolean => name === "node:crypto";

function wrongPackage(file: string, { mayUse }: Floor, name: string): string[] {
  const isPulumi = name.startsWith("@pulumi/");
  const allowed = mayUse === "Pulumi" || (mayUse === "Node" ? !isPulumi : isPurePackage(name));
  return allowed ? [] : [`${file} imports ${name}; its folder may use ${mayUse === "Node" ? "Node, not Pulumi" : "nothing of the kind"}`];
}

/** The first circle that a walk from each file finds. */
function circles(imports: ReadonlyMap<string, readonly string[]>): string[] {
  const done = new Set<string>();
  const found: string[] = [];
  const visit = (file: string, way: readonly string[]): void => {
    const begin = way.indexOf(file);
    if (begin >= 0) {
      found.push(`a circle: ${[...way.slice(begin), file].join(" -> ")}`);
      return;
    }
    if (done.has(file)) return;
    for (const next of imports.get(file) ?? []) visit(next, [...way, file]);
    done.add(file);
  };
  for (const file of imports.keys()) visit(file, []);
  return found;
}

/** Files are texts by their paths from the project's root. */
export function wrongImports(files: ReadonlyMap<string, string>, floors: readonly Floor[]): string[] {
  const imports = new Map<string, string[]>();
  const wrong: string[] = [];
  for (const [file, text] of files) {
    const place = placeOf(file, floors);
    if (place === undefined) {
      wrong.push(`${file} is on no floor; give its folder a row in docs/architecture.md`);
      continue;
    }
    const own: string[] = [];
    for (const specifier of specifiers(file, text)) {
      if (!specifier.startsWith(".")) {
        wrong.push(...wrongPackage(file, place, specifier));
        continue;
      }
      const target = targetOf(file, specifier, files);
      const other = placeOf(target, floors);
      if (other === undefined) wrong.push(`${file} imports ${target}, which is on no floor`);
      else if (other.row < place.row || (other.row === place.row && other.room !== place.room))
        wrong.push(`${file} imports ${target}: ${place.room} stands below or beside ${other.room}`);
      if (files.has(target)) own.push(target);
    }
    imports.set(file, own);
  }
  return [...wrong, ...circles(imports)];
}
