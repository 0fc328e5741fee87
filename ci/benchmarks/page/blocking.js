// Calls the function `nothing` repeatedly, each time by a synchronous request that blocks this worker.

onmessage = ({ data: { relay, user, times } }) => {
  const message = JSON.stringify({ user, function: "nothing", async: false });
  let problem = "";
  for (let i = 0; i < times && !problem; i++) {
    const request = new XMLHttpRequest();
    request.open("POST", `${relay}/`, false);
    request.send(message);
    if (request.status !== 200) problem = `${request.status} ${request.responseText}`;
  }
  postMessage(problem);
};
