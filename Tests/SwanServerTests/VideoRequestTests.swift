import Foundation
import SwanHTTP
import SwanPipelines
import Testing

@testable import SwanServer

@Suite struct VideoRequestTests {
    private func json(_ fields: [(String, String)]) throws -> NSDictionary {
        let data = try FormFields.json(fields.map { (name: $0.0, value: $0.1) })
        return try #require(try JSONSerialization.jsonObject(with: data) as? NSDictionary)
    }

    @Test func formsBecomeJSON() throws {
        let object = try json([
            ("prompt", "7"), ("seconds", "4"), ("fps", "8.5"), ("settings[steps]", "2"),
            ("settings[negative_prompt]", "true"), ("settings[timesteps][]", "900"),
            ("settings[timesteps][]", "500"), ("prompt_at[][frame]", "1"),
            ("prompt_at[][prompt]", "a"),
            ("prompt_at[][frame]", "9"), ("prompt_at[][prompt]", "b"),
        ])
        let expected: NSDictionary = [
            "prompt": "7", "seconds": "4", "fps": 8.5,
            "settings": ["steps": 2, "negative_prompt": "true", "timesteps": [900, 500]]
                as NSDictionary,
            "prompt_at": [["frame": 1, "prompt": "a"], ["frame": 9, "prompt": "b"]] as NSArray,
        ]
        #expect(object == expected)
        let fields = ["prompt", "size", "seconds", "fps", "model"].map { (name: $0, value: "1") }
        #expect(try FormFields.json(fields) == FormFields.json(fields.reversed()))
        #expect(try json([("settings", #"{"seed": 3}"#)]) == ["settings": ["seed": 3]])
    }

    @Test(arguments: [
        ["prompt", "prompt"], ["settings", "settings[steps]"],
        ["settings[steps]", "settings[steps]"],
        ["a[b"], ["[a]"], ["a]b"], ["a[b][c][d][e]"], ["a[]", "a[b]"],
    ]) func wrongNames(names: [String]) {
        #expect(throws: APIError.self) { try json(names.map { ($0, "1") }) }
    }

    private func parameter(_ text: String) -> String? {
        do {
            let fields = try JobFields(json: Data(text.utf8))
            _ = try fields.settings(or: StreamSettings())
            return nil
        } catch {
            return (error as? APIError)?.parameter ?? "none"
        }
    }

    @Test func fields() throws {
        let fields = try JobFields(
            json: Data(
                #"{"prompt": "a", "seconds": "2.5", "size": "64x48", "settings": {"seed": 9}}"#.utf8
            )
        )
        #expect((fields.seconds, fields.size?.width, fields.size?.height) == (2.5, 64, 48))
        #expect(try fields.settings(or: StreamSettings()).seed == 9)
    }

    @Test(arguments: [
        (#"{"prompt": 1}"#, "prompt"), (#"{}"#, "prompt"),
        (#"{"prompt": "a", "size": "1"}"#, "size"),
        (#"{"prompt": "a", "seconds": []}"#, "seconds"), (#"{"prompt": "a", "x": 1}"#, "x"),
        (#"{"prompt": "a", "settings": {"x": 1}}"#, "settings"),
        (#"{"prompt": "a", "settings": {"steps": 0}}"#, "settings"),
        (#"{"prompt": "a", "settings": {"steps": 1.5}}"#, "settings"),
        (#"{"prompt": "a", "settings": {"seed": -1}}"#, "settings"),
        (#"{"prompt": "a", "settings": {"seed": 1e30}}"#, "settings"),
        (#"{"prompt": "a", "max_frames": 1e30}"#, "max_frames"),
        (#"{"prompt": "a", "fps": 1e400}"#, "fps"),
        (#"{"prompt": "a", "control_scale": 1e400}"#, "control_scale"),
        (#"{"prompt": "a", "prompt_at": [{"frame": 1e30, "prompt": "b"}]}"#, "prompt_at"),
        (#"{"prompt": "a", "input_reference": {"image_url": "http://a/"}}"#, "input_reference"),
        (#"{"prompt": "a", "input_reference": {"file_id": "1"}}"#, "input_reference"),
        (#"{"prompt": "a", "last_image": {"image_url": "data:,x"}}"#, "last_image"),
    ]) func wrongFields(text: String, name: String) {
        #expect(parameter(text) == name)
    }

    @Test(arguments: [
        ("bytes=0-0", 0...0), ("bytes=2-", 2...9), ("bytes=-3", 7...9), ("bytes=0-99", 0...9),
        ("bytes=-99", 0...9),
    ]) func ranges(text: String, range: ClosedRange<Int>) {
        #expect(FileResponse.range(text, of: 10) == FileResponse.Parsed(value: range))
    }

    @Test(arguments: ["bytes=10-", "bytes=99-100", "bytes=-0"]) func emptyRanges(text: String) {
        #expect(FileResponse.range(text, of: 10) == FileResponse.Parsed(value: nil))
    }

    @Test(arguments: [
        "", "bytes=", "bytes=-", "bytes=3-1", "bytes=a-b", "bytes=0-1,3-4", "lines=0-1",
        "bytes=-1-2",
    ])
    func ignoredRanges(text: String) {
        #expect(FileResponse.range(text, of: 10) == nil)
    }

    @Test func messagesOfTheDecoder() {
        let head = DecodeMessage.Head(.frame, length: 300)
        let read = DecodeMessage.Head(head.bytes)
        #expect((read?.kind, read?.length) == (.frame, 300))
        #expect(DecodeMessage.Head([9, 0, 0, 0, 0, 0, 0, 0]) == nil)
        #expect(DecodeMessage.Head([1]) == nil)
        var info = UploadInfo(width: 4_096, height: 2_304)
        #expect(info.isPlausible(DecodeLimits()))
        info.height = 2_305
        #expect(!info.isPlausible(DecodeLimits()))
        info.isPicture = true
        #expect(info.isPlausible(DecodeLimits()))
        info.width = -1
        #expect(!info.isPlausible(DecodeLimits()))
    }

    /// `max_frames` is never exceeded, and `seconds` are met as nearly as 4 n + 1 frames can.
    @Test(
        arguments: [
            (nil, 1, 1), (nil, 3, 1), (nil, 4, 1), (nil, 5, 5), (nil, 8, 5), (nil, 9, 9),
            (0.01, nil, 1), (0.3, nil, 5), (1, nil, 17), (1, 16, 13), (0.3, 100, 5),
            (nil, nil, nil),
        ] as [(Double?, Int?, Int?)]
    )
    func framesOfGeneratedVideos(seconds: Double?, most: Int?, frames: Int?) {
        var request = JobRequest(kind: .generate, model: "a", prompt: "a fox")
        (request.seconds, request.maxFrames) = (seconds, most)
        #expect(GenerationFields.frames(request, 16) == frames)
    }

    @Test func arrivingBodiesAreBounded() throws {
        var limits = JobLimits()
        (limits.arriving, limits.arrivingFileBytes, limits.arrivingJSONBytes) = (2, 100, 10)
        let arriving = ArrivingBodies(limits)
        var file: ArrivingBodies.Body? = try arriving.begin(.disk)
        let json = try arriving.begin(.memory)
        #expect(throws: APIError.self) { try arriving.begin(.disk) }
        try file?.add(100)
        try json.add(10)
        #expect(throws: APIError.self) { try json.add(1) }
        #expect(throws: APIError.self) { try file?.add(1) }
        file = nil
        let next = try arriving.begin(.disk)
        try next.add(100)
    }
}
