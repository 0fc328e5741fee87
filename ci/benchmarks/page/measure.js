// Measures columns in turns, so that other load affects all of them; the fastest time of each counts.

/**
 * @param {Record<string, (times: number) => Promise<unknown>>} columns  each repeats its work this many times
 * @param {{ rounds: number, sample: number }} options  `sample`: duration of one measurement in milliseconds
 * @returns {Promise<Record<string, number[]>>}  microseconds for each repetition, by round
 */
export async function measure(columns, { rounds, sample }) {
  const plans = [];
  for (const [name, work] of Object.entries(columns)) {
    // As many repetitions as fill a sample. The first slow run may have included compilation.
    let times = 1, took = 0;
    for (let long = 0; long < 2;) {
      took = await timed(work, times);
      if (took > sample / 4) long++;
      else [times, long] = [times * (took > sample / 64 ? 2 : 8), 0];
    }
    plans.push({ name, work, times: Math.max(1, Math.ceil((times * sample) / took)), found: [] });
  }
  for (let round = 0; round < rounds; round++) {
    for (const plan of plans) plan.found.push(((await timed(plan.work, plan.times)) * 1000) / plan.times);
  }
  return Object.fromEntries(plans.map(({ name, found }) => [name, found]));
}

async function timed(work, times) {
  const began = performance.now();
  await work(times);
  return performance.now() - began;
}
