import { Judge, type Judgement } from './judge.ts'

/** Traffic that is made up: what a judgement is worth is found by many such deployments. */
export interface Simulation {
  /** Requests to the new release until it is judged; the old one gets `oldShare` times as many. */
  requests: number
  oldShare: number
  /** Shares of requests that fail. */
  newFails: number
  oldFails: number
  /** Answer times are log-normal, median 20 ms; the new release's are so many times longer, from this quantile on. */
  slower: number
  slowerFrom: number
  /** How often the judge is asked. */
  looks: number
  /** How many of the requests have their time measured. */
  times: number
}

/** Numbers from 0 to 1 that look like chance and are the same for the same seed: mulberry32 (Tommy Ettinger, public domain). */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let value = Math.imul(state ^ (state >>> 15), 1 | state)
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value
    return ((value ^ (value >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** One deployment's canary, judged as it would be: failures at every look, answer times in the middle and at the end. */
export function simulate(simulation: Simulation, random: () => number): Judgement {
  const judge = new Judge()
  const { looks } = simulation
  const perLook = (total: number, look: number) =>
    Math.floor((total * (look + 1)) / looks) - Math.floor((total * look) / looks)
  for (let look = 0; look < looks; look++) {
    const [newRequests, oldRequests] = [
      perLook(simulation.requests, look),
      perLook(simulation.requests * simulation.oldShare, look),
    ]
    const timed = perLook(simulation.times, look)
    judge.add(
      {
        newRequests,
        newFailed: binomial(newRequests, simulation.newFails, random),
        oldRequests,
        oldFailed: binomial(oldRequests, simulation.oldFails, random),
      },
      {
        new: Array.from({ length: timed }, () => answerTime(simulation, random)),
        old: Array.from({ length: timed }, () => answerTime({ slower: 1, slowerFrom: 0 }, random)),
      },
    )
    const judgement = judge.now(look === looks - 1 ? 'end' : look === Math.floor(looks / 2) ? 'half' : 'under way')
    if (judgement.outcome === 'fail') return judgement
  }
  return judge.now('under way')
}

/** By counting the gaps between failures: quick where failures are rare. */
function binomial(count: number, share: number, random: () => number): number {
  if (share <= 0) return 0
  let failures = 0
  for (
    let at = Math.floor(Math.log(1 - random()) / Math.log(1 - share));
    at < count;
    at += 1 + Math.floor(Math.log(1 - random()) / Math.log(1 - share))
  )
    failures++
  return failures
}

/** Milliseconds. Box and Muller 1958 for the normal deviate. */
function answerTime({ slower, slowerFrom }: { slower: number; slowerFrom: number }, random: () => number): number {
  const deviate = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  const time = 20 * Math.exp(0.6 * deviate)
  const from = 20 * Math.exp(0.6 * quantileOfNormal(slowerFrom))
  return time >= from ? time * slower : time
}

/** The few quantiles that simulations begin at. */
function quantileOfNormal(share: number): number {
  const known = new Map([
    [0, -Infinity],
    [0.5, 0],
    [0.9, 1.2815515655],
    [0.95, 1.6448536269],
  ])
  const value = known.get(share)
  if (value === undefined) throw new Error(`The quantile ${share} is not known`)
  return value
}
