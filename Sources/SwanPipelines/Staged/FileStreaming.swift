import SwanText

/// A stream from file to file, on one process or on several ranks.
protocol FileStreaming: AnyObject, Sendable {
    /// The changes that had to be made to the initial prompt, to be shown as warnings.
    var promptIssues: [PromptIssue] { get }
    /// The number of frames received so far.
    var framesIn: Int { get }
    /// The timestep (of 1000) that denoising starts from.
    var firstStep: Int? { get }

    /// Changes the prompt, starting with the next chunk; see `VideoStream.setPrompt`.
    func setPrompt(_ prompt: String) throws -> [PromptIssue]

    /// Runs the stream to its end; see `VideoStream.run`.
    func run(_ source: StreamSource, deliver: (StreamedChunk) throws -> Bool) throws

    /// Generates at least `frames` frames from noise; see `VideoStream.generate`.
    func generate(
        atLeast frames: Int,
        willStart: @escaping @Sendable (Int) throws -> Void,
        isStopped: @escaping @Sendable () -> Bool,
        deliver: (StreamedChunk) throws -> Bool
    ) throws

    /// Adds the stream's statistics to a summary.
    func add(to summary: inout StreamSummary)
}

extension VideoStream: FileStreaming {
    func add(to summary: inout StreamSummary) { summary.add(self) }
}
