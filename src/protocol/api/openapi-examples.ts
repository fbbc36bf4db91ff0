/** Examples and notes of the API's reference, by the name of the operation. */

export const operationExamples: Readonly<Record<string, { body?: unknown; response?: unknown }>> = {
  deploy: { body: { revision: 'main' } },
  rollback: { body: {} },
  plan: { body: { revision: 'main' } },
  apply: {
    body: {
      text: 'application: shop\nsource: { repository: https://git.example.org/shop.git }\nenvironments:\n  production: { servers: [web1, web2] }\n',
    },
  },
  exec: { body: { command: { line: 'uptime' }, on: { tags: { role: 'web' } } } },
  decide: { body: { decision: 'approve', note: 'Looks good' } },
  setSecret: { body: { value: 'postgres://…' } },
  createToken: {
    body: { note: 'ci', right: 'deploy', places: [{ application: 'shop', environment: 'staging' }], days: 90 },
  },
  createJoinToken: {
    body: { uses: 3, minutes: 60, environments: [{ application: 'shop', environment: 'production' }] },
  },
  addPerson: {
    body: {
      email: 'anna@example.org',
      name: 'Anna',
      grants: [{ role: 'deployer', place: { application: 'shop', environment: 'staging' } }],
    },
  },
  signIn: { body: { email: 'anna@example.org', password: 'correct horse battery' } },
  addWebhook: { body: { service: 'github', note: 'shop', application: 'shop' } },
  health: { response: { status: 'ok', version: '0.1.0' } },
}

export const operationNotes: Readonly<Record<string, string>> = {
  deploy: 'Answers as soon as the deployment is stored; its events tell how it goes.',
  deploymentEvents: 'Events are stored before they are sent, so that nothing is lost between two connections.',
  offerArtifact:
    'First of three calls that deploy what is no commit: offer the manifest, upload what is missing, deploy the artifact.',
}
