// The house keeps its shape: every rule holds for the project, and every rule can fail.
import t from 'tap'
import * as cpp from './support/architecture/cpp.ts'
import { rules } from './support/architecture/rules.ts'
import { checkout, type Rule, readSources } from './support/architecture/source.ts'
import * as typescript from './support/architecture/typescript.ts'

const source = (path: string, text: string) => ({ path, text })
const long = (lines: number) => '  f();\n'.repeat(lines)

/** Each rule with projects that break it and what it must say of them. */
const broken: Record<keyof typeof rules, [path: string, text: string, says: string][]> = {
  cppArrows: [
    ['addon/base/fd.cc', '#include "kernel/mount.h"\n', 'addon/base/fd.cc: includes "kernel/mount.h"'],
    [
      'include/kernel/mount.h',
      '#include "monitor/context.h"\n',
      'include/kernel/mount.h: includes "monitor/context.h"',
    ],
    ['addon/kernel/mount.cc', '#include "protocol.h"\n', 'addon/kernel/mount.cc: includes "protocol.h"'],
    ['addon/binding/launch.cc', '#include "kernel/mount.h"\n', 'addon/binding/launch.cc: includes "kernel/mount.h"'],
    ['addon/binding/launch.cc', '#include "monitor/life.h"\n', 'addon/binding/launch.cc: includes "monitor/life.h"'],
    ['addon/monitor/life.cc', '#include <napi.h>\n', 'addon/monitor/life.cc: includes <napi.h>'],
    ['addon/kernel/seccomp.cc', '#include <seccomp.h>\n', 'addon/kernel/seccomp.cc: includes <seccomp.h>'],
    ['addon/base/log.cc', '#include <iostream>\n', 'addon/base/log.cc: includes <iostream>'],
  ],
  kernelModules: [
    ['addon/kernel/a.cc', '#include "kernel/b.h"\n#include "kernel/a.h"\n', ''],
    ['include/kernel/b.h', '#include "kernel/a.h"\n', 'kernel/a: is in a circle of includes'],
    ['addon/kernel/c.cc', 'class Context;\n', "addon/kernel/c.cc: knows the monitor's Context"],
  ],
  typescriptArrows: [
    ['lib/errors.ts', "import { x } from './abort.ts'\n", 'lib/errors.ts: imports abort'],
    ['lib/config/file.ts', "import { x } from '../host/users.ts'\n", 'lib/config/file.ts: imports host/users'],
    ['lib/spec/spec.ts', "import { x } from '../native/binding.ts'\n", 'lib/spec/spec.ts: imports native/binding'],
    ['lib/network/nat.ts', "export { x } from '../container.ts'\n", 'lib/network/nat.ts: imports container'],
    ['lib/attic/x.ts', "import { x } from '../errors.ts'\n", 'lib/attic/x.ts: attic is no room of the house'],
    [
      'lib/store.ts',
      "import { x } from '../test/support/host.ts'\n",
      'lib/store.ts: imports ../test/support/host.ts, which is not in lib/',
    ],
    ['lib/store.ts', "const x = await import('node:child_process')\n", 'lib/store.ts: forks Node'],
    ['lib/store.ts', "import { createRequire } from 'node:module'\n", 'lib/store.ts: loads the addon'],
    ['lib/store.ts', "import x from 'left-pad'\n", 'lib/store.ts: imports the package "left-pad"'],
  ],
  typescriptForm: [
    ['lib/a.ts', 'export default 1\n', 'lib/a.ts: has a default export'],
    ['lib/b.ts', 'export const x = await y()\n', 'lib/b.ts: awaits at top level'],
  ],
  sizes: [
    [
      'addon/base/a.cc',
      `namespace x {\nvoid K::go(int a) const {\n${long(50)}}\n}\n`,
      'addon/base/a.cc: K::go has 52 lines',
    ],
    ['lib/a.ts', `class A {\n  go(): void {\n${long(50)}  }\n}\n`, 'lib/a.ts: go has 52 lines'],
    ['bench/a.c', `// x\n\n${'int x;\n'.repeat(401)}`, 'bench/a.c: has 401 lines of code'],
  ],
  words: [
    ['lib/utils.ts', '', 'lib/utils.ts: says nothing by its name'],
    ['addon/base/string_helpers.cc', '', 'addon/base/string_helpers.cc: says nothing by its name'],
    ['addon/base/a.cc', 'int do' + '_start();\n', 'addon/base/a.cc: do' + '_start'],
    ['lib/a.ts', `// ${'TO'}${'DO'}: later\n`, `lib/a.ts: ${'TO'}${'DO'}`],
  ],
  machinePaths: [['docs/b.md', `see ${checkout}/lib\n`, `docs/b.md: names ${checkout}`]],
  sourceLists: [
    [
      'addon/sources.gypi',
      '{"variables":{"a":["addon/base/gone.cc"]}}',
      'addon/sources.gypi: addon/base/gone.cc does not exist',
    ],
    ['addon/base/new.cc', '', 'addon/base/new.cc: is not in addon/sources.gypi'],
  ],
}

t.test('every rule finds what breaks it, and nothing else', async t => {
  for (const [name, cases] of Object.entries(broken)) {
    const rule: Rule = rules[name as keyof typeof rules]
    const found = rule(cases.map(([path, text]) => source(path, text)))
    const expected = cases.map(([, , says]) => says).filter(Boolean)
    t.strictSame(
      expected.filter(line => !found.includes(line)),
      [],
      name,
    )
  }
})

t.test('what is allowed is not found', async t => {
  const project = [
    source(
      'addon/monitor/start.cc',
      '#include "kernel/mount.h"\n#include "base/fd.h"\n#include "protocol.h"\n#include <errno.h>\n',
    ),
    source('addon/kernel/mount.cc', '#include "kernel/path.h"\n#include "spec.h"\n// a Context is not for us\n'),
    source('addon/binding/seccomp.cc', '#include <napi.h>\n#include "kernel/seccomp.h"\n'),
    source(
      'lib/container.ts',
      "import { a } from './spec/spec.ts'\nimport { b } from './native/binding.ts'\nimport 'node:fs'\n",
    ),
    source(
      'lib/spec/spec.ts',
      "import type { StartSpec } from '../native/spec.ts'\nimport { e } from '../errors.ts'\n",
    ),
    source('lib/abort.ts', "import { e } from './errors.ts'\nexport const f = async () => await 1\n"),
    source('lib/config/keys.ts', '// a row\n'.repeat(1000)),
  ]
  for (const name of [
    'cppArrows',
    'kernelModules',
    'typescriptArrows',
    'typescriptForm',
    'sizes',
    'machinePaths',
  ] as const) {
    t.strictSame(rules[name](project), [], name)
  }
})

t.test('functions are found where they are', async t => {
  const text = [
    'namespace caisson {',
    'constexpr Row kRows[] = {{"a", 1},',
    '  {"b", 2}};',
    'struct A {',
    '  explicit A(int n) : n_(n) {}',
    '  int get() const { return n_; }',
    '};',
    '/* void no() {',
    '*/',
    'static Result<int> go(const char* text,',
    '                      int more) {',
    '  if (*text == \'{\') return "}";',
    '  return 1;',
    '}',
    '}',
  ].join('\n')
  t.strictSame(cpp.functionsOf(text), [
    { name: 'A', lines: 1 },
    { name: 'get', lines: 1 },
    { name: 'go', lines: 5 },
  ])
  t.strictSame(typescript.functionsOf('const f = () => {\n  g()\n}\n'), [{ name: 'a function', lines: 3 }])
  t.strictSame(typescript.importsOf("import type { A } from './a.ts'\nexport * from 'b'\n"), ['./a.ts', 'b'])
})

t.test('the project keeps them all', async t => {
  const sources = readSources()
  for (const [name, rule] of Object.entries(rules)) t.strictSame(rule(sources), [], name)
})
