import Foundation
import Logging
import SwanMedia
import SwanPipelines
import SwanText
import Synchronization
import Torch

/// Restyles an uploaded video, or a picture that is repeated.
struct RestyleWork {
    let model: StreamModel
    let budget: ComputeBudget
    let plan: RestylePlan
    let log: Logger

    /// Makes the video of a job from its upload.
    func run(
        _ request: JobRequest,
        _ decoder: UploadDecoder,
        output path: String,
        _ control: JobControl
    ) throws -> JobResult {
        let stream = try VideoStream(
            model,
            prompt: request.prompt,
            options: plan.options,
            budget: budget,
            log: log
        )
        let writer = try VideoWriter(
            path: path,
            width: plan.size.width,
            height: plan.size.height,
            frameRate: plan.frameRate
        )
        defer { writer.cancel() }
        control.whenStopped { decoder.close() }
        let input = UploadFrames(decoder, plan, request.laterPrompts)
        input.note(stream.promptIssues)
        try stream.run(source(input, stream, control)) { chunk in
            guard !control.isStopped else { return false }
            for frame in chunk.frames { try writer.append(frame) }
            if let total = plan.expectedFrames {
                control.advance(to: 0.98 * Double(writer.frameCount) / Double(max(total, 1)))
            }
            return true
        }
        try control.check()
        try Engine.requireWholeFiles()
        let frames = writer.frameCount
        input.noteUnusedPrompts(frames)
        try writer.finish()
        return JobResult(
            size: plan.size,
            frames: frames,
            frameRate: plan.frameRate.value,
            issues: input.issues
        )
    }

    private func source(
        _ input: UploadFrames,
        _ stream: VideoStream,
        _ control: JobControl
    ) -> StreamSource {
        StreamSource(
            next: {
                do {
                    guard !control.isStopped, let frame = try input.next() else { return nil }
                    while let prompt = input.nextPrompt(before: stream.framesIn) {
                        input.note(try stream.setPrompt(prompt))
                    }
                    return TimedFrame(frame)
                } catch {
                    // Stopping ends the decoder, which is no failure then.
                    if control.isStopped { return nil }
                    throw error
                }
            },
            isStopped: { control.isStopped },
            isAborted: { control.isStopped },
            cancel: { input.close() }
        )
    }
}

/// The frames of an upload, as many as the job needs.
private final class UploadFrames: Sendable {
    private struct State {
        var picture: VideoFrame?
        var count = 0
        var prompts: [JobRequest.LaterPrompt]
        var issues: [String] = []
    }

    private let decoder: UploadDecoder
    private let limit: Int
    private let state: Mutex<State>

    init(_ decoder: UploadDecoder, _ plan: RestylePlan, _ prompts: [JobRequest.LaterPrompt]) {
        self.decoder = decoder
        limit = plan.frames ?? .max
        state = Mutex(State(prompts: prompts.sorted { $0.frame < $1.frame }))
    }

    func next() throws -> VideoFrame? {
        try state.withLock { state in
            guard state.count < limit else { return nil }
            state.count += 1
            guard decoder.info.isPicture else { return try decoder.next() }
            if state.picture == nil { state.picture = try decoder.next() }
            return state.picture
        }
    }

    /// Removes and returns the next prompt if its frame has been reached.
    func nextPrompt(before frame: Int) -> String? {
        state.withLock { state in
            guard let next = state.prompts.first, next.frame <= frame else { return nil }
            return state.prompts.removeFirst().prompt
        }
    }

    /// What was wrong with the prompts so far; the same is said once.
    var issues: [String] { state.withLock { $0.issues } }

    func note(_ issues: [PromptIssue]) {
        state.withLock { state in
            for issue in issues.map(\.description) where !state.issues.contains(issue) {
                state.issues.append(issue)
            }
        }
    }

    /// Notes the prompts whose frames have not come.
    func noteUnusedPrompts(_ frames: Int) {
        state.withLock { state in
            for prompt in state.prompts {
                state.issues.append(
                    "prompt_at: frame \(prompt.frame) is beyond the end of the video (\(frames) frames)"
                )
            }
        }
    }

    func close() { decoder.close() }
}
