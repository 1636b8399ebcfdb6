import SwanPipelines

extension StartMessage {
    /// The start of a session that no client of `/v1/realtime` asked for.
    ///
    /// - Parameters:
    ///   - change: The prompts and settings to begin with.
    ///   - framesPerSecond: The rate at which frames will come.
    ///   - source: The shape of these frames, which the output gets.
    init(_ change: StreamChange, framesPerSecond: Double, source: (width: Int, height: Int)?) {
        self.change = change
        settings = StreamSettings()
        settings.steps = change.steps
        settings.noiseScale = change.noiseScale
        settings.fixedNoise = change.fixedNoise ?? settings.fixedNoise
        settings.seed = change.seed ?? settings.seed
        settings.fit = change.fit ?? settings.fit
        self.framesPerSecond = framesPerSecond
        (sourceWidth, sourceHeight) = (source?.width, source?.height)
    }
}
