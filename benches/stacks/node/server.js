// Baseline: GET /products in Fastify with pg, the same handler as benches/speed/textbook.rs.
//
// Reads SPSI_TOKEN_KEYS, SPEED_SOCKET_DIR and SPEED_DATABASE. One worker process for each core, on one port.
'use strict'

const cluster = require('node:cluster')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const fastify = require('fastify')
const jwt = require('jsonwebtoken')
const { Pool } = require('pg')

const SELECT = fs.readFileSync(path.join(__dirname, '..', 'products.sql'), 'utf8')
const KEY = Buffer.from(process.env.SPSI_TOKEN_KEYS.split(',')[0].split(':')[1], 'base64')
const WORKERS = os.cpus().length
const CONNECTIONS = 16

const like = (text) => `%${text.toLowerCase().replace(/[\\%_]/g, '\\$&')}%`
const list = (value) => (value === undefined ? [] : [].concat(value))
const plain = (text) => (text.includes('.') ? text.replace(/0+$/, '').replace(/\.$/, '') : text)
const barcode = (text) => (/^[1-9][0-9]*$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : text)

function product (row) {
  return {
    active: row.active ? 1 : 0,
    code: row.code,
    name: row.name,
    type: row.type,
    category: row.category,
    units_per_outer: plain(row.units_per_outer),
    unit_of_measure: row.unit_of_measure,
    price_per_unit: plain(row.unit_list_price),
    list_price: Number(row.unit_list_price),
    contract_price: Number(row.unit_contract_price),
    barcode: barcode(row.barcode),
    stock_available: Number(row.stock_available),
    related_urls: row.related_urls
  }
}

async function serve () {
  const pool = new Pool({
    host: process.env.SPEED_SOCKET_DIR,
    database: process.env.SPEED_DATABASE,
    user: 'postgres',
    max: Math.max(1, CONNECTIONS / WORKERS),
    options: '-c plan_cache_mode=force_custom_plan'
  })
  const rows = (await pool.query("select * from clinic where state = 'active'")).rows
  const clinics = new Map(rows.map((row) => [row.client_id, row]))
  const app = fastify()
  await app.register(require('@fastify/compress'), { encodings: ['gzip'], zlibOptions: { level: 1 } })
  app.get('/products', async (request, reply) => {
    let clinic
    try {
      const token = (request.headers.authorization || '').replace('Bearer ', '')
      clinic = clinics.get(jwt.verify(token, KEY, { algorithms: ['HS256'] }).sub)
    } catch {
      return reply.code(401).send()
    }
    const values = [clinic.id, clinic.price_list_id, clinic.hidden_categories, clinic.hidden_products, clinic.only_categories,
      clinic.only_products, clinic.restricted_licence]
    let conditions = ''
    let page = ''
    for (const column of ['name', 'code']) {
      const terms = list(request.query[column]).concat(list(request.query[`${column}[]`]))
      if (terms.length > 0) {
        values.push(terms.map(like))
        conditions += ` and lower(p.${column}) like any ($${values.length})`
      }
    }
    if (request.query.limit) {
      values.push(Number(request.query.limit), Number(request.query.limit) * Number(request.query.page || 0))
      page = `limit $${values.length - 1} offset $${values.length}`
    }
    const rows = SELECT.replace('/* conditions */', conditions).replace('/* page */', page)
    // JavaScript has no decimals, so Postgres divides.
    const statement = `select p.*, round(list_price / units_per_outer, 6) as unit_list_price,
      round(coalesce(contract_price, list_price) / units_per_outer, 6) as unit_contract_price from (${rows}) p order by p.code`
    const found = await pool.query(statement, values)
    return { products: found.rows.map(product) }
  })
  await app.listen({ port: Number(process.env.SPEED_PORT), host: '127.0.0.1' })
}

if (cluster.isPrimary) {
  const probe = require('node:net').createServer()
  probe.listen(0, '127.0.0.1', () => {
    const { port } = probe.address()
    probe.close(() => {
      for (let worker = 0; worker < WORKERS; worker++) cluster.fork({ SPEED_PORT: port })
      let listening = 0
      cluster.on('listening', () => {
        listening += 1
        if (listening === WORKERS) console.error(`listening on http://127.0.0.1:${port}`)
      })
    })
  })
} else {
  serve()
}
