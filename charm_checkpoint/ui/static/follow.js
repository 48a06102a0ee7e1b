// Following what goes on: asks by one small number whether anything changed, less and less often while nothing does.
const FIRST = 1000, SLOWEST = 15000, AGAIN = 5000, GROWTH = 1.4;

export class Follower {
  constructor(ask, changed, told = () => {}) {
    Object.assign(this, { ask, changed, told, delay: FIRST, seen: undefined, timer: undefined, isOn: false, round: 0 });
    this.onVisible = () => { if (!document.hidden && this.isOn) this.soon(); };
  }

  start() {
    if (this.isOn) return;
    this.isOn = true;
    document.addEventListener("visibilitychange", this.onVisible);
    this.told("on");
    this.soon();
  }

  // Follow from what was read: what changed since then is told, too.
  from(found) {
    this.seen = found === undefined ? undefined : JSON.stringify(found);
    this.start();
  }

  stop() {
    this.isOn = false;
    this.round++;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.onVisible);
    this.told("off");
  }

  soon() {
    this.delay = FIRST;
    clearTimeout(this.timer);
    this.look();
  }

  async look() {
    const round = ++this.round;
    if (!document.hidden) {
      const slow = setTimeout(() => { if (round === this.round) this.told("lost", { message: "The store has not answered for a while." }); }, AGAIN);
      try {
        const found = JSON.stringify(await this.ask());
        if (round !== this.round) return;
        if (this.seen !== undefined && found !== this.seen) {
          this.delay = FIRST;
          await this.changed(JSON.parse(found), JSON.parse(this.seen));
        } else this.delay = Math.min(this.delay * GROWTH, SLOWEST);
        this.seen = found;
        if (round === this.round) this.told("on");
      } catch (error) {
        if (round !== this.round) return;
        this.delay = AGAIN;
        this.told("lost", error);
      } finally {
        clearTimeout(slow);
      }
    }
    if (this.isOn && round === this.round) this.timer = setTimeout(() => this.look(), this.delay);
  }
}
