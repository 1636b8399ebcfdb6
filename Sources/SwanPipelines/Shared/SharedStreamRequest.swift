/// What is asked of a stream that shares its model.
package struct SharedStreamRequest: Sendable {
    /// The prompts to mix; one for a plain prompt.
    package var prompts: [StreamChange.WeightedPrompt]
    /// The size, steps, noise and seed.
    package var options: StreamOptions
    /// The rate at which the sender adds frames, or wants them.
    package var framesPerSecond: Double
    /// The number that identifies these settings in the first chunks.
    package var event: UInt32 = 0
    /// How the steps run.
    package var mode: StepMode
    /// Whether the stream has no input: its chunks come from noise and the prompt.
    package var generates = false
    /// Whether a busy stream keeps only the newest frames. If not, the sender must limit itself.
    package var dropsFrames = true

    /// Creates a request, whose steps run as the options say.
    package init(
        prompts: [StreamChange.WeightedPrompt],
        options: StreamOptions,
        framesPerSecond: Double
    ) {
        self.prompts = prompts
        self.options = options
        self.framesPerSecond = framesPerSecond
        mode = options.settings.streamBatch ? .batch : .steps
    }
}
