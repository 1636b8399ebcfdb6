import SwanDistributed

/// The forwards that one rank alone would run, numbered, with what applies to each.
///
/// A pipeline runs the rows of such a forward at different times. Each row still sees what it would
/// see alone: the prompt and first timestep of its own tick, and the timesteps of the rows in its
/// company, because a product of few rows rounds by their number.
struct TickLog: Sendable {
    private struct Setting {
        let tick: Int
        let prompt: Int
        let firstTimestep: Double
        let noise: Int
    }

    private let stepCount: Int
    /// The newest tick.
    private(set) var tick = 0
    private var settings: [Setting] = []
    /// The ticks at which chunks, or the zeros before them, entered row 0.
    private var entries: [Int] = []

    /// - Parameter steps: The number of denoising steps.
    init(steps: Int) { stepCount = steps }

    /// Records the first chunk, which runs alone at tick 0.
    mutating func begin(prompt: Int, firstTimestep: Double, noise: Int) {
        settings = [
            Setting(tick: 0, prompt: prompt, firstTimestep: firstTimestep, noise: noise)
        ]
        // Zeros fill the rows below the first chunk that enters a stream batch.
        entries = (0..<(stepCount - 1)).map { -$0 }
    }

    /// Records a chunk that enters row 0, and returns its tick.
    mutating func enter(prompt: Int, firstTimestep: Double, noise: Int) -> Int {
        tick += 1
        settings.append(
            Setting(tick: tick, prompt: prompt, firstTimestep: firstTimestep, noise: noise)
        )
        entries.append(tick)
        return tick
    }

    /// Records ticks in which no chunk enters.
    mutating func skip(_ count: Int) { tick += count }

    /// The row of a chunk that entered at a tick, at one of its steps.
    func row(chunk: Int, start: Int, entered: Int, step: Int) -> StageMessage.Row {
        let tick = entered + step
        let setting = self.setting(at: tick)
        var row = StageMessage.Row(
            chunk: chunk,
            start: start,
            step: step,
            company: company(at: tick),
            firstTimestep: setting?.firstTimestep ?? 0,
            prompt: setting?.prompt ?? 0
        )
        row.noise = setting?.noise ?? 0
        return row
    }

    /// The steps that run at a tick.
    func company(at tick: Int) -> Range<Int> {
        let steps = entries.map { tick - $0 }.filter { 0..<stepCount ~= $0 }
        return (steps.min() ?? 0)..<(steps.max() ?? 0) + 1
    }

    /// The prompt at a tick.
    func prompt(at tick: Int) -> Int { setting(at: tick)?.prompt ?? 0 }

    /// Forgets what only ticks before `tick` need.
    mutating func forget(before tick: Int) {
        entries.removeAll { $0 + stepCount <= tick }
        if let current = settings.lastIndex(where: { $0.tick <= tick }) {
            settings.removeFirst(current)
        }
    }

    private func setting(at tick: Int) -> Setting? {
        settings.last { $0.tick <= tick } ?? settings.first
    }
}
