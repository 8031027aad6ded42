import t from 'tap'
import { formatMetadata, parseMetadata } from '../../lib/image/metadata.ts'
import { renderTemplate } from '../../lib/image/pongo.ts'
import { parseYaml } from '../../lib/image/yaml.ts'

t.test('metadata and templates are read strictly (L5)', async t => {
  const metadata = {
    architecture: 'x86_64',
    created: new Date(1_700_000_000_000),
    expires: new Date(1_800_000_000_000),
    properties: { os: 'Debian', description: 'a "quoted": thing # here' },
    templates: {
      '/etc/hosts': {
        template: 'hosts.tpl',
        when: ['create'],
        createOnly: false,
        properties: { a: 'b' },
        uid: 0,
        gid: 5,
        mode: 0o640,
      },
    },
  }
  t.same(parseMetadata(formatMetadata(metadata)), metadata, 'control: honest ones are read')
  t.throws(() => parseMetadata('templates:\n  /etc/x:\n    template: ../../x\n'), { code: 'ERR_IMAGE' })
  t.throws(() => parseMetadata('templates:\n  /etc/../../x:\n    template: x\n'), { code: 'ERR_IMAGE' })
  t.throws(() => parseYaml('a: &x 1\nb: *x\n'), { code: 'ERR_IMAGE', message: /line 1/ })
  t.throws(() => parseYaml('a: 1\na: 2\n'), { code: 'ERR_IMAGE', message: /twice/ })
  t.throws(() => parseYaml('a:\n\tx: 1'), { code: 'ERR_IMAGE', message: /tab/ })
  t.same(parseYaml("a: |\n  x\n   y\n\nb:\n- 1\n- \"two\"\nc: {}\nd: 'it''s'\n"), {
    a: 'x\n y\n',
    b: ['1', 'two'],
    c: {},
    d: "it's",
  })
  const scope = { name: 'web', on: true, config_get: (_: string, d = '') => d }
  t.equal(renderTemplate('{{ name|upper }} {{ config_get("user.x", "d") }}{# c #}', scope), 'WEB d')
  t.equal(renderTemplate('{% if not on %}a{% elif name == "web" and on %}b{% else %}c{% endif %}', scope), 'b')
  t.equal(renderTemplate('{{ constructor }}{{ name.length }}', scope), '')
  t.throws(() => renderTemplate('{% for x in y %}{% endfor %}', scope), { code: 'ERR_IMAGE', message: /"for"/ })
  t.throws(() => renderTemplate('{% if on %}', scope), { code: 'ERR_IMAGE' })
})
