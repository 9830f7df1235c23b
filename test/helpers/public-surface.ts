/**
 * The public surface of the package as the compiler sees it: what `ts/index.ts` exports, of which kind, with which members,
 * and where docstrings are missing. Declarations of other packages and of the language are left out.
 */
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** One exported name; members are marked `()` when they are methods and `?` when they may be absent. */
export interface SurfaceEntry {
  kind: string;
  members?: string[];
}

export interface PublicSurface {
  entries: Record<string, SurfaceEntry>;
  /** names without a docstring, as `file:line Name.member` */
  undocumented: string[];
}

const kinds: [ts.SymbolFlags, string][] = [
  [ts.SymbolFlags.Class, 'class'],
  [ts.SymbolFlags.Function, 'function'],
  [ts.SymbolFlags.Interface, 'interface'],
  [ts.SymbolFlags.TypeAlias, 'type'],
  [ts.SymbolFlags.Enum, 'enum'],
  [ts.SymbolFlags.Variable, 'constant'],
];

/** A name may be two things at once, as a constant and the type of its values. */
function kindOf(symbol: ts.Symbol): string {
  const found = kinds.filter(([flag]) => (symbol.flags & flag) !== 0).map(([, name]) => name);
  return found.length === 0 ? 'unknown' : found.join(' and ');
}

function isHidden(symbol: ts.Symbol): boolean {
  if (symbol.name.startsWith('#') || symbol.name.startsWith('__#')) return true;
  return (symbol.declarations ?? []).some(
    (declaration) =>
      (ts.getCombinedModifierFlags(declaration) & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected)) !== 0 ||
      ts.getJSDocTags(declaration).some((tag) => tag.tagName.text === 'internal'),
  );
}

/** Reads the surface of one entry file; `compilerOptions` come from the project's tsconfig.json. */
export function readSurface(entry = join(root, 'ts', 'index.ts')): PublicSurface {
  const config = ts.readConfigFile(join(root, 'tsconfig.json'), (path) => ts.sys.readFile(path));
  const { options } = ts.parseJsonConfigFileContent(config.config, ts.sys, root);
  const program = ts.createProgram([entry], { ...options, noEmit: true, incremental: false, composite: false });
  const checker = program.getTypeChecker();
  const file = program.getSourceFile(entry);
  const module = file && checker.getSymbolAtLocation(file);
  if (!module) throw new Error(`${entry} is not a module`);

  const own = (symbol: ts.Symbol): boolean =>
    (symbol.declarations ?? []).some((declaration) => {
      const source = declaration.getSourceFile();
      return !program.isSourceFileFromExternalLibrary(source) && !program.isSourceFileDefaultLibrary(source);
    });
  const documented = (symbol: ts.Symbol): boolean =>
    ts.displayPartsToString(symbol.getDocumentationComment(checker)).trim() !== '' ||
    symbol.getJsDocTags(checker).some(({ name }) => name === 'inheritDoc' || name === 'returns');
  /** `readonly kind: 'affine'` says all there is to say; so do methods named by a symbol of the language. */
  const isDiscriminant = (symbol: ts.Symbol): boolean =>
    symbol.name.startsWith('__@') ||
    (['kind', 'type', 'format', 'version'].includes(symbol.name) &&
      (checker.getTypeOfSymbol(symbol).flags & ts.TypeFlags.Literal) !== 0);
  const at = (symbol: ts.Symbol): string => {
    const declaration = symbol.declarations?.[0];
    if (!declaration) return '?';
    const source = declaration.getSourceFile();
    const line = source.getLineAndCharacterOfPosition(declaration.getStart()).line + 1;
    return `${relative(root, source.fileName)}:${line}`;
  };

  const entries: Record<string, SurfaceEntry> = {};
  const undocumented: string[] = [];
  const exported = checker.getExportsOfModule(module).sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const alias of exported) {
    const symbol = (alias.flags & ts.SymbolFlags.Alias) !== 0 ? checker.getAliasedSymbol(alias) : alias;
    const kind = kindOf(symbol);
    const members: string[] = [];
    const note = (member: ts.Symbol, prefix: string): void => {
      if (isHidden(member) || !own(member)) return;
      const method = (member.flags & ts.SymbolFlags.Method) !== 0 ? '()' : '';
      const optional = (member.flags & ts.SymbolFlags.Optional) !== 0 ? '?' : '';
      // A symbol-named member carries a number of this compilation in its internal name.
      const name = member.name.replace(/^__@(\w+)@\d+$/, '[Symbol.$1]');
      members.push(`${prefix}${name}${method}${optional}`);
      if (!documented(member) && !isDiscriminant(member))
        undocumented.push(`${at(member)} ${alias.name}.${prefix}${member.name}`);
    };
    if (!documented(symbol)) undocumented.push(`${at(symbol)} ${alias.name}`);
    if (/class|interface/.test(kind)) {
      for (const member of checker.getDeclaredTypeOfSymbol(symbol).getProperties()) note(member, '');
    } else if (/type/.test(kind)) {
      // Only members written out in an object type: those of unions and mapped types have no place of their own.
      const declaration = symbol.declarations?.find(ts.isTypeAliasDeclaration);
      if (declaration && ts.isTypeLiteralNode(declaration.type))
        for (const member of checker.getDeclaredTypeOfSymbol(symbol).getProperties()) note(member, '');
    }
    if (/class/.test(kind)) {
      for (const member of checker.getTypeOfSymbol(symbol).getProperties()) {
        if (member.name !== 'prototype') note(member, 'static ');
      }
    }
    entries[alias.name] = members.length === 0 ? { kind } : { kind, members: members.sort() };
  }
  return { entries, undocumented };
}
