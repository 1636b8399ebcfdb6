import SwanDistributed
import SwanSystem
import SwanThreads

/// The first rank of a pipeline, which turns a stream's chunks into work for all.
protocol StreamHead: AnyObject {
    /// The chunks and prompts, from the encoder.
    var incoming: StagePost.Queue { get }
    /// Passes a message through this rank's stage; returns false if the pipeline accepts no more.
    func pass(_ message: StageMessage) throws -> Bool
    /// Runs a chunk; returns false if the pipeline accepts no more.
    func add(_ message: StageMessage) throws -> Bool
    /// Changes the steps or the noise of what follows; returns false as `add` does.
    func change(_ message: StageMessage) throws -> Bool
    /// Ends the stream with the message that says so; a mark drops the chunks under way.
    func end(_ message: StageMessage) throws
}

extension StreamHead {
    /// Runs the stream to its end.
    func run() throws {
        while let message = incoming.take() {
            switch message.kind {
            case .text: guard try pass(message) else { return }
            case .chunk: guard try add(message) else { return }
            case .plan: guard try change(message) else { return }
            case .end: return try end(message)
            default:
                throw SwanError(.invalidData, "the first stage got a message of \(message.kind)")
            }
        }
    }
}

/// How far a stream has come at the first rank of a pipeline.
struct HeadProgress {
    /// The forwards that one rank alone would run.
    var ticks: TickLog
    /// The latent frames of a chunk.
    var frames: Int
    /// The timestep of step 0 from now on.
    private(set) var firstTimestep: Double
    /// The latent frames and the chunks before the current one.
    private(set) var position = 0
    private(set) var chunks = 0
    /// Whether the current chunk has no past.
    private(set) var isFirst = true
    /// The prompt of the newest chunk, and the number of the noise from now on.
    private(set) var prompt = 0
    private(set) var noise = 0

    init(_ setup: StageSetup) {
        ticks = TickLog(steps: setup.stepCount)
        frames = setup.plan.framesPerChunk
        firstTimestep = setup.plan.steps[0]
    }

    /// Takes what a chunk brings along: its prompt and, after the first, its first timestep.
    mutating func open(_ message: StageMessage) throws(SwanError) -> StageMessage.Row {
        guard let given = message.rows.first else {
            throw SwanError(.invalidData, "a chunk without a row")
        }
        if !isFirst, given.firstTimestep >= 0 { firstTimestep = given.firstTimestep }
        prompt = given.prompt
        return given
    }

    /// Begins the ticks of a stream batch, in which zeros fill the rows.
    mutating func begin() {
        ticks.begin(prompt: prompt, firstTimestep: firstTimestep, noise: noise)
    }

    /// Counts a change of the noise.
    mutating func changeNoise() { noise = (noise + 1) % 256 }

    /// Starts over with other steps and without chunks.
    mutating func restart(_ plan: DenoisingPlan) {
        firstTimestep = plan.steps[0]
        ticks = TickLog(steps: plan.steps.count)
        begin()
    }

    /// Starts over at a cut, with chunks of so many latent frames after the current one.
    mutating func beginScene(_ plan: DenoisingPlan, frames: Int) {
        (self.frames, position, isFirst) = (frames, 0, true)
        firstTimestep = plan.steps[0]
        ticks = TickLog(steps: plan.steps.count)
    }

    /// Lets the current chunk enter row 0; returns its tick and its row at step 0.
    mutating func enter() -> (tick: Int, row: StageMessage.Row) {
        let tick = ticks.enter(prompt: prompt, firstTimestep: firstTimestep, noise: noise)
        return (tick, ticks.row(chunk: chunks, start: position, entered: tick, step: 0))
    }

    /// Counts the current chunk.
    mutating func close(latentFrames: Int) {
        position += latentFrames
        chunks += 1
        isFirst = false
    }
}
