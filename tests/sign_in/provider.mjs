// A certified OAuth server (npm oidc-provider) at the addresses the agent expects of Microsoft's, with a person and a
// browser built in: GET /browse?url=… walks through its pages and answers where they end. Loopback only, for tests.
import http from 'node:http';
import Provider from 'oidc-provider';

const server = http.createServer();
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const origin = `http://127.0.0.1:${server.address().port}`;
const seen = { refreshes: 0, minted: 0, errors: [], revoked: 0 };
let firstRefreshToken;

const provider = new Provider(origin, {
  clients: [
    {
      client_id: 'agent', token_endpoint_auth_method: 'none', application_type: 'native',
      grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
      redirect_uris: ['http://127.0.0.1/back'], response_types: ['code'],
    },
    {
      client_id: 'service', client_secret: 's~+ /=%&secret', token_endpoint_auth_method: 'client_secret_post',
      grant_types: ['client_credentials'], redirect_uris: [], response_types: [], scope: 'api:read',
    },
  ],
  scopes: ['openid', 'offline_access', 'api:read'],
  features: { deviceFlow: { enabled: true }, clientCredentials: { enabled: true }, devInteractions: { enabled: true } },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  issueRefreshToken: (_, client) => client.grantTypeAllowed('refresh_token'),
  rotateRefreshToken: true,
  ttl: { AccessToken: 3600, RefreshToken: 86400, DeviceCode: 600, AuthorizationCode: 60, Grant: 86400, Session: 3600, Interaction: 600, ClientCredentials: 600, IdToken: 600 },
  cookies: { keys: ['only for tests'] },
});
provider.on('grant.success', (context) => {
  const type = context.oidc.params.grant_type;
  if (type === 'refresh_token') seen.refreshes += 1;
  if (type === 'client_credentials') seen.minted += 1;
  firstRefreshToken ??= context.body?.refresh_token;
});
provider.on('grant.error', (_, error) => seen.errors.push(error.error));
provider.on('grant.revoked', () => { seen.revoked += 1; });
const callback = provider.callback();

// Microsoft's paths → this server's.
const paths = { token: '/token', devicecode: '/device/auth', authorize: '/auth' };

server.on('request', async (request, response) => {
  const url = new URL(request.url, origin);
  const answer = (value) => response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  try {
    if (url.pathname === '/seen') return answer(seen);
    if (url.pathname === '/browse') return answer({ end: await browse(url.searchParams.get('url')) });
    if (url.pathname === '/replay') return answer({ status: await replay() });
  } catch (error) {
    return response.writeHead(500).end(String(error));
  }
  const [, name] = url.pathname.match(/^\/[^/]+\/oauth2\/v2\.0\/(\w+)$/) ?? [];
  // OpenID Connect Core section 11 wants this for offline_access; Microsoft does not, so the agent does not send it.
  if (name === 'authorize') url.searchParams.set('prompt', 'consent');
  if (paths[name]) request.url = paths[name] + url.search;
  callback(request, response);
});

// Somebody who has stolen the first refresh token uses it.
async function replay() {
  const body = new URLSearchParams({ grant_type: 'refresh_token', client_id: 'agent', refresh_token: firstRefreshToken });
  return (await fetch(`${origin}/token`, { method: 'POST', body })).status;
}

// Follows redirects, fills in every form, keeps cookies; ends at another server's address or a page without a form.
async function browse(start) {
  const cookies = new Map();
  let [url, body] = [new URL(start), undefined];
  for (let steps = 0; steps < 30; steps += 1) {
    const headers = { cookie: [...cookies].map((pair) => pair.join('=')).join('; ') };
    const page = await fetch(url, { method: body ? 'POST' : 'GET', body, headers, redirect: 'manual' });
    for (const cookie of page.headers.getSetCookie()) {
      const [, name, value] = cookie.match(/^([^=]+)=([^;]*)/);
      if (value) cookies.set(name, value); else cookies.delete(name);
    }
    const text = await page.text();
    body = undefined;
    if (page.status >= 300 && page.status < 400) {
      url = new URL(page.headers.get('location'), url);
      if (url.origin !== origin) return url.href;
      continue;
    }
    const form = text.match(/<form[^>]*action="([^"]+)"[^>]*>([\s\S]*?)<\/form>/);
    if (!form) return `${page.status}`;
    body = new URLSearchParams();
    for (const [input] of form[2].matchAll(/<input[^>]*>/g)) {
      const attribute = (name) => input.match(new RegExp(`${name}="([^"]*)"`))?.[1];
      if (attribute('name')) body.set(attribute('name'), attribute('value') ?? 'adele');
    }
    // The confirmation of a device is a button without a name.
    if (url.pathname === '/device' && !body.has('confirm') && text.includes('confirm')) body.set('confirm', 'yes');
    url = new URL(form[1].replaceAll('&amp;', '&'), url);
  }
  return 'too many pages';
}

console.log(origin);
