import Foundation
import SwanSystem
import Testing

@testable import SwanPipelines
@testable import SwanServer

/// The messages of `/v1/realtime`.
@Suite struct ProtocolTests {
    // MARK: - Binary

    @Test func headersHaveTheDocumentedBytes() {
        var header = FrameHeader(
            .jpeg,
            sequence: 0x0102_0304,
            captureTime: 0x1122_3344_5566_7788,
            width: 640,
            height: 480
        )
        (header.event, header.chunk, header.milliseconds) = (7, 9, 250)
        let expected: [UInt8] = [
            1, 1, 1, 0, 4, 3, 2, 1, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
            7, 0, 0, 0, 0x80, 2, 0xE0, 1, 9, 0, 0, 0, 250, 0, 0, 0,
        ]
        #expect(header.bytes == expected)
        #expect(FrameHeader(expected + [0xFF, 0xD8]) == header)
    }

    @Test(arguments: [
        [] as [UInt8], Array(repeating: 1, count: 31),
        [2, 1, 1] + Array(repeating: 0, count: 29), [1, 2, 1] + Array(repeating: 0, count: 29),
        [1, 1, 9] + Array(repeating: 0, count: 29),
    ])
    func otherBytesAreNoHeader(bytes: [UInt8]) {
        #expect(FrameHeader(bytes) == nil)
    }

    /// Only frames of H.264 have a flag: pictures stand alone anyway.
    @Test func keyFramesAreFlagged() {
        var header = FrameHeader(.h264, sequence: 1, captureTime: 2, width: 64, height: 64)
        #expect(!header.isKeyFrame && header.bytes[2...3] == [3, 0])
        header.isKeyFrame = true
        #expect(header.bytes[2...3] == [3, 1])
        #expect(FrameHeader(header.bytes) == header)
        let picture = FrameHeader(.png, sequence: 1, captureTime: 2, width: 64, height: 64)
        #expect(picture.isKeyFrame && picture.bytes[3] == 0)
    }

    // MARK: - Text

    @Test func startsChooseAnOutput() throws {
        func start(_ keys: String) throws -> StartMessage? {
            guard case .start(let start) = try ClientMessage("{\"type\": \"start\", \(keys)}")
            else {
                return nil
            }
            return start
        }
        let slow = try start("\"output\": \"h264\", \"bitrate\": 800000")
        #expect(slow?.output == .h264 && slow?.bitsPerSecond == 800_000)
        #expect(try start("\"output\": \"auto\"")?.output == .auto)
        for (keys, parameter) in [("\"output\": \"gif\"", "output"), ("\"bitrate\": 9", "bitrate")]
        {
            let error = #expect(throws: MessageError.self) { try start(keys) }
            #expect(error?.parameter == parameter)
        }
        guard case .keyFrame = try ClientMessage("{\"type\": \"keyframe\"}") else {
            Issue.record("not a request for a key frame")
            return
        }
    }

    @Test func startsHaveDefaults() throws {
        guard case .start(let start) = try ClientMessage("{\"type\": \"start\"}") else {
            Issue.record("not a start")
            return
        }
        #expect(start.change.prompts == nil && start.settings.steps == nil)
        #expect(start.input == .frames && start.output == .jpeg && start.quality == 90)
        #expect(start.mode == .auto && start.presentation == .newest)
    }

    @Test func startsCarrySettings() throws {
        let text = """
            {"type": "start", "event": 3, "prompt": "sepia", "width": 128, "height": 96, "steps": 1, "seed": 9,
             "noise_scale": 0.4, "fixed_noise": true, "fit": "pad", "output": "png", "quality": 50, "fps": 12,
             "source_width": 640, "source_height": 480, "input": "none", "mode": "batch",
             "presentation": "lossless"}
            """
        guard case .start(let start) = try ClientMessage(text) else {
            Issue.record("not a start")
            return
        }
        let settings = start.settings
        #expect((settings.width, settings.height, settings.fit) == (128, 96, .pad))
        #expect((settings.steps, settings.seed, settings.noiseScale) == (1, 9, 0.4))
        #expect(settings.fixedNoise && start.change.event == 3)
        #expect(start.change.prompts?.map(\.text) == ["sepia"])
        #expect((start.output, start.quality, start.framesPerSecond) == (.png, 50, 12))
        #expect((start.sourceWidth, start.sourceHeight, start.input) == (640, 480, .none))
        #expect(start.mode == .batch && start.presentation == .lossless)
    }

    @Test func updatesCarryChanges() throws {
        let text = """
            {"type": "update", "event": 8, "prompts": [{"text": "a", "weight": 2}, {"text": "b", "weight": 1}],
             "transition": 4, "paused": true, "reset": true}
            """
        guard case .update(let change, let isPaused) = try ClientMessage(text) else {
            Issue.record("not an update")
            return
        }
        #expect(change.prompts?.count == 2 && change.transition == 4 && change.resets)
        #expect(change.event == 8 && isPaused == true)
    }

    @Test(
        arguments: [
            ("", "invalid_message", nil), ("[]", "invalid_message", nil),
            ("{}", "invalid_value", "type"),
            ("{\"type\": 5}", "invalid_value", "type"),
            ("{\"type\": \"fly\"}", "unknown_type", "type"),
            ("{\"type\": \"ping\"}", "invalid_value", "time"),
            ("{\"type\": \"start\", \"quality\": 101}", "invalid_value", "quality"),
            ("{\"type\": \"start\", \"fps\": 1e9}", "invalid_value", "fps"),
            ("{\"type\": \"start\", \"source_width\": 0}", "invalid_value", "source_width"),
            ("{\"type\": \"start\", \"mode\": \"fast\"}", "invalid_value", "mode"),
            ("{\"type\": \"start\", \"presentation\": 1}", "invalid_value", "presentation"),
            ("{\"type\": \"update\", \"width\": 9223372036854775807}", "invalid_value", "width"),
            ("{\"type\": \"update\", \"steps\": 99999999999999999999}", nil, nil),
            ("{\"type\": \"update\", \"noise_scale\": 7}", "invalid_value", "noise_scale"),
            (String(repeating: "[", count: 100_000), "invalid_message", nil),
        ] as [(String, String?, String?)]
    )
    func wrongMessagesAreExplained(text: String, code: String?, parameter: String?) {
        let error = #expect(throws: MessageError.self) { try ClientMessage(text) }
        if let code { #expect(error?.code == code) }
        if let parameter { #expect(error?.parameter == parameter) }
        #expect(error?.message.contains("/") == false)
    }

    @Test(
        arguments: [
            ("\"seed\": -1", "seed", "must be a whole number from 0 to 18446744073709551615"),
            ("\"steps\": 1.5", "steps", "must be a whole number from 1 to 1000"),
            ("\"event\": -1", "event", "must be a whole number from 0 to 4294967295"),
            ("\"steps\": 1e30", "steps", "must be a whole number from 1 to 1000"),
            ("\"noise_scale\": 1e400", "noise_scale", "must be 0 to 1"),
            ("\"mode\": \"foo\"", "mode", "must be auto, steps or batch"),
            ("\"fit\": \"foo\"", "fit", "must be crop, pad or stretch"),
            ("\"prompts\": [{\"text\": \"a\"}]", "prompts[0].weight", "is missing"),
            (
                "\"prompts\": [{\"text\": \"a\", \"weight\": 1e400}]", "prompts[0].weight",
                "must be 0 to 1000"
            ),
        ] as [(String, String, String)]
    )
    func wrongValuesNameTheirKey(text: String, parameter: String, reason: String) {
        for type in ["start", "update"] {
            let error = #expect(throws: MessageError.self) {
                try ClientMessage("{\"type\": \"\(type)\", \(text)}")
            }
            #expect(error?.code == "invalid_value" && error?.parameter == parameter)
            #expect(error?.message == "\(parameter): \(reason)")
        }
    }

    @Test func agentsReadWhatIsWrong() {
        let error = #expect(throws: DecodingError.self) {
            let _: AgentArguments.Parameters = try AgentArguments.decode(["seed": -1])
        }
        let words = error.map { MessageError($0).message }
        #expect(words == "seed: must be a whole number from 0 to 18446744073709551615")
    }

    @Test(arguments: [
        ("start", "prmpt", "\"sepia\""), ("update", "stesp", "1"), ("update", "output", "\"png\""),
        ("start", "paused", "true"),
    ])
    func unknownKeysAreErrors(type: String, key: String, value: String) {
        let error = #expect(throws: MessageError.self) {
            try ClientMessage("{\"type\": \"\(type)\", \"\(key)\": \(value)}")
        }
        #expect(error?.code == "unknown_key" && error?.parameter == key)
        #expect(error?.message.contains("'\(key)'") == true)
    }

    @Test func unknownKeysOfPromptsAreErrors() {
        for type in ["start", "update"] {
            let prompts = "[{\"text\": \"a\", \"weight\": 1}, {\"text\": \"b\", \"wait\": 1}]"
            let error = #expect(throws: MessageError.self) {
                try ClientMessage("{\"type\": \"\(type)\", \"prompts\": \(prompts)}")
            }
            #expect(error?.code == "unknown_key" && error?.parameter == "prompts[1].wait")
            #expect(error?.message.hasSuffix("known are: text, weight.") == true)
        }
    }

    @Test func wrongChoicesAreListed() {
        for (key, names) in [
            ("presentation", "newest, lossless or paced"), ("input", "frames or none"),
            ("output", "jpeg, png, h264 or auto"),
        ] {
            let error = #expect(throws: MessageError.self) {
                try ClientMessage("{\"type\": \"start\", \"\(key)\": \"foo\"}")
            }
            #expect(error?.message == "\(key): must be \(names)" && error?.parameter == key)
        }
    }

    @Test func serverMessagesAreSnakeCase() {
        let ready = ServerMessage.Ready(
            session: "s",
            resumed: false,
            width: 1,
            height: 2,
            chunkFrames: 4,
            firstChunkFrames: 5,
            fps: 16,
            credit: 16,
            steps: 2,
            maxSteps: 2,
            model: "tiny",
            styles: ["sepia"],
            issues: []
        )
        let text = ServerMessage.ready(ready).text
        #expect(text.contains("\"type\":\"ready\"") && text.contains("\"first_chunk_frames\":5"))
        let failure = ServerMessage.failure(.init(MessageError("c", "m")))
        #expect(failure.text.contains("\"type\":\"error\""))
        #expect(!failure.text.contains("retry_after") && !failure.text.contains("fits"))
    }

    @Test func refusalsSayWhatWouldFit() {
        let demand = StreamDemand(width: 256, height: 256, steps: 2, framesPerSecond: 16)
        let smaller = StreamDemand(width: 128, height: 128, steps: 1, framesPerSecond: 16)
        let error = MessageError(CapacityError(demand: demand, fits: smaller, streams: 3))
        let text = ServerMessage.failure(.init(error)).text
        #expect(
            text.contains("\"code\":\"capacity_exhausted\"") && text.contains("\"retry_after\":")
        )
        for part in ["\"width\":128", "\"height\":128", "\"steps\":1", "\"fps\":16"] {
            #expect(text.contains(part))
        }
    }

    @Test func endsAreTyped() {
        for (code, name) in [
            (SwanError.Code.outOfMemory, "out_of_memory"), (.invalidWeights, "not_finite"),
            (.libraryFailed, "stream_failed"),
        ] {
            #expect(MessageError(ending: SwanError(code, "m")).code == name)
        }
    }

    // MARK: - The outbox

    private func frame(_ sequence: UInt32) -> OutputFrame {
        OutputFrame(
            header: FrameHeader(.jpeg, sequence: sequence, captureTime: 0, width: 1, height: 1),
            picture: [],
            arrival: .now
        )
    }

    @Test func newestFramesStayAndMessagesComeFirst() async {
        let outbox = Outbox(frameCapacity: 3)
        outbox.put((0..<8).map(frame))
        outbox.put(.pong(.init(time: 1)))
        outbox.close()
        guard case .message = await outbox.next() else {
            Issue.record("no message first")
            return
        }
        var sequences: [UInt32] = []
        while case .frame(let frame) = await outbox.next() {
            sequences.append(frame.header.sequence)
        }
        #expect(sequences == [5, 6, 7] && outbox.droppedFrames == 5)
    }

    @Test func theLastMessageComesAfterTheFrames() async {
        let outbox = Outbox(frameCapacity: 3)
        outbox.put([frame(1)])
        outbox.close(after: .ended(.init(reason: "finished")))
        outbox.close(after: .ended(.init(reason: "stopped")))
        guard case .frame = await outbox.next(), case .message(let last) = await outbox.next()
        else {
            Issue.record("not a frame and a message")
            return
        }
        #expect(last.text.contains("finished"))
        #expect(await outbox.next() == nil)
    }

    @Test(.timeLimit(.minutes(10))) func readersWaitAndEnd() async {
        let outbox = Outbox(frameCapacity: 3)
        async let first = outbox.next()
        outbox.put([frame(1)])
        #expect(await first != nil)
        let reader = Task { await outbox.next() }
        reader.cancel()
        #expect(await reader.value == nil)
        async let last = outbox.next()
        outbox.close()
        #expect(await last == nil)
    }
}
