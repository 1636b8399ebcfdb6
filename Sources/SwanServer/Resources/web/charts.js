// The latency of the last minute as a curve, and the stages of a frame as a waterfall.

const width = 600;
const height = 120;
/** Seconds without a frame that do not interrupt the curve. */
const longestGap = 3;

/** Draws the curve into an <svg>: the median as a line, up to the 95th percentile as an area. */
export function drawCurve(svg, seconds) {
    const highest = roundUp(Math.max(100, ...seconds.map((second) => second?.p95 ?? 0)));
    const x = (index) => (index / (seconds.length - 1)) * width;
    const y = (milliseconds) => height - (milliseconds / highest) * height;
    const runs = runsOf(seconds);
    const line = runs.map((run) => path(run.map(({ index, p50 }) => [x(index), y(p50)])));
    const area = runs.map((run) => {
        const upper = run.map(({ index, p95 }) => [x(index), y(p95)]);
        const lower = run.map(({ index, p50 }) => [x(index), y(p50)]).reverse();
        return `${path([...upper, ...lower])}Z`;
    });
    svg.querySelector(".line").setAttribute("d", line.join(""));
    svg.querySelector(".area").setAttribute("d", area.join(""));
    return highest;
}

/** Splits the seconds where there was no frame for a while. */
function runsOf(seconds) {
    const runs = [];
    let last = -Infinity;
    seconds.forEach((second, index) => {
        if (!second) return;
        if (index - last > longestGap) runs.push([]);
        runs.at(-1).push({ index, ...second });
        last = index;
    });
    return runs;
}

function path(points) {
    // A line to the same place is drawn as a dot.
    if (points.length === 1) points.push(points[0]);
    return points.map(([x, y], index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
}

/** Returns the next of 100, 200, 500, 1000, … */
function roundUp(milliseconds) {
    const power = 10 ** Math.floor(Math.log10(milliseconds));
    return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= milliseconds);
}

/** Lists the stages, each as a bar that begins where the one before it ends. */
export function drawWaterfall(list, stages) {
    const total = stages.reduce((sum, { milliseconds }) => sum + (milliseconds ?? 0), 0);
    let start = 0;
    const rows = stages.map(({ name, milliseconds }) => {
        const bar = newElement("span", "bar");
        bar.style.setProperty("--start", total ? start / total : 0);
        bar.style.setProperty("--length", total ? (milliseconds ?? 0) / total : 0);
        bar.hidden = milliseconds === null;
        start += milliseconds ?? 0;
        const track = newElement("span", "track");
        track.append(bar);
        const row = document.createElement("li");
        row.append(newElement("span", "name", name), track, newElement("span", "value", inMilliseconds(milliseconds)));
        return row;
    });
    list.replaceChildren(...rows);
}

function newElement(tag, className, text = "") {
    const element = document.createElement(tag);
    element.className = className;
    element.textContent = text;
    return element;
}

export function inMilliseconds(value) {
    if (value === null) return "–";
    return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}
