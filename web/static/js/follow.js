// Polls a page's changing part, and says so where no answer comes.
const live = document.getElementById("live");
const lost = document.getElementById("lost");

function sayLost(text) {
  lost.hidden = !text;
  lost.textContent = text;
}

/** Pass each answer to `renew`, which returns true when there is nothing more to follow; `pause` gives milliseconds. */
export function follow(renew, pause, { signedOut, noAnswer }, away = () => {}) {
  async function poll() {
    try {
      const answer = await fetch(live.dataset.fragment, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (answer.status === 401) return sayLost(signedOut);
      if (!answer.ok) throw new Error(String(answer.status));
      const isOver = renew(new DOMParser().parseFromString(await answer.text(), "text/html"));
      sayLost("");
      if (isOver) return undefined;
    } catch {
      sayLost(noAnswer);
      away();
    }
    return setTimeout(poll, pause());
  }
  setTimeout(poll, pause());
}
