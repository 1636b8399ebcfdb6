import Foundation
import SwanCheckpoints
import SwanPipelines
import SwanSystem
import Testing

/// The user's settings for a stream, as decoded from JSON.
struct StreamSettingsTests {
    @Test func allKeysAreOptional() throws {
        let settings = try JSONDecoder().decode(StreamSettings.self, from: Data("{}".utf8))
        #expect(settings == StreamSettings())
        let options = try StreamOptions(StreamConfiguration(), settings)
        #expect(options == StreamOptions(StreamConfiguration()))
    }

    @Test func keysReachTheOptions() throws {
        let json = """
            {"steps": 2, "noise_scale": 0.5, "fixed_noise": true, "stream_batch": false, "height": 64,
             "width": 96, "fit": "pad", "target_fps": 12, "seed": 18446744073709551615}
            """
        let settings = try JSONDecoder().decode(StreamSettings.self, from: Data(json.utf8))
        let options = try StreamOptions(StreamConfiguration(), settings)
        #expect(options.configuration.steps == [700, 500])
        #expect(options.configuration.noiseScale == 0.5)
        #expect((options.settings.fixedNoise, options.settings.streamBatch) == (true, false))
        #expect((options.height, options.width, options.fit) == (64, 96, .pad))
        #expect((options.settings.targetFPS, options.settings.seed) == (12, .max))
        let again = try JSONDecoder().decode(
            StreamSettings.self,
            from: JSONEncoder().encode(settings)
        )
        #expect(again == settings)
    }

    @Test(arguments: [
        ("{\"noise_scale\": 2}", "noise scale must be 0 to 1"),
        ("{\"steps\": 0}", "number of steps"),
        ("{\"height\": 0}", "height must be"), ("{\"target_fps\": 0}", "target frame rate"),
        ("{\"fit\": \"squash\"}", "squash"), ("{\"stpes\": 2}", "stpes"),
        ("{\"steps\": \"two\"}", "steps"),
    ])
    func saysWhatIsWrong(json: String, words: String) {
        let error = #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(StreamSettings.self, from: Data(json.utf8))
        }
        #expect("\(String(describing: error))".contains(words))
    }

    @Test func refusesMoreStepsThanTheModelHas() throws {
        var settings = StreamSettings()
        settings.steps = 5
        #expect(throws: SwanError.self) { try StreamOptions(StreamConfiguration(), settings) }
    }
}
