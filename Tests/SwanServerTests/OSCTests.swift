import SwanPipelines
import Testing

@testable import SwanServer

/// Packets of Open Sound Control, and what they ask for.
@Suite struct OSCTests {
    // MARK: - Packets

    /// A text with its zero and padding.
    private static func text(_ text: String) -> [UInt8] {
        let bytes = Array(text.utf8)
        return bytes + Array(repeating: 0, count: 4 - bytes.count % 4)
    }

    private static func number(_ number: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: number.bigEndian) { Array($0) }
    }

    /// A message with a value of each type.
    private static let every =
        text("/swan/test") + text(",ifsbTFhdNI[i]S") + number(Int32(-7))
        + number(Float(0.5).bitPattern)
        + text("neon") + number(Int32(3)) + [1, 2, 3, 0] + number(Int64(1) << 40)
        + number((-2.25).bitPattern) + number(Int32(9)) + text("tail")

    private static func bundle(_ elements: [UInt8]...) -> [UInt8] {
        text("#bundle") + number(UInt64(1))
            + elements.flatMap { number(UInt32($0.count)) + $0 }
    }

    @Test func messagesHaveValuesOfAllTypes() throws {
        let messages = try OSCMessage.messages(in: Self.every)
        let expected = OSCMessage(
            "/swan/test",
            [
                .integer(-7), .number(0.5), .text("neon"), .blob([1, 2, 3]), .flag(true),
                .flag(false),
                .integer(1 << 40), .number(-2.25), .none, .none, .integer(9), .text("tail"),
            ]
        )
        #expect(messages == [expected])
        #expect(
            try OSCMessage.messages(in: Self.text("/swan/reset")) == [OSCMessage("/swan/reset")]
        )
    }

    @Test func bundlesContainBundles() throws {
        let (one, two) = (Self.text("/a") + Self.text(","), Self.text("/b") + Self.text(",T"))
        let messages = try OSCMessage.messages(
            in: Self.bundle(one, Self.bundle(two), Self.bundle())
        )
        #expect(messages == [OSCMessage("/a"), OSCMessage("/b", [.flag(true)])])
        var deep = one
        for _ in 0..<20 { deep = Self.bundle(deep) }
        #expect(throws: OSCPacketError.tooDeep) { try OSCMessage.messages(in: deep) }
    }

    @Test(
        arguments: [
            ([], .truncated), ([0x2F], .truncated), (text("/a") + [0], .truncated),
            (Array("/abc".utf8), .truncated), (text("swan"), .invalidAddress),
            (text("/a b"), .invalidAddress),
            (text("#bungle") + number(UInt64(1)), .invalidAddress), (text("#bundle"), .truncated),
            (bundle([]), .truncated),
            (text("#bundle") + number(UInt64(1)) + number(UInt32.max), .truncated),
            (text("/a") + text("i") + number(Int32(1)), .invalidTypes),
            (text("/a") + text(",q"), .invalidTypes),
            (text("/a") + text(",i"), .truncated),
            (text("/a") + text(",h") + number(Int32(1)), .truncated),
            (text("/a") + text(",b") + number(UInt32.max), .truncated),
            (text("/a") + text(",T") + number(Int32(1)), .trailingBytes),
            (text("/a") + text(",s") + [0xFF, 0xFE, 0, 0], .invalidText),
            (text("/a") + text(",s") + [0x61, 0, 1, 0], .invalidText),
        ] as [([UInt8], OSCPacketError)]
    )
    func otherBytesAreNoPacket(bytes: [UInt8], error: OSCPacketError) {
        #expect(throws: error) { try OSCMessage.messages(in: bytes) }
    }

    /// Each prefix of a packet, and each packet with one byte changed, is read or refused.
    @Test func damagedPacketsAreRefused() throws {
        let packet = Self.bundle(Self.every, Self.bundle(Self.every))
        let complete = packet.indices.filter { count in
            (try? OSCMessage.messages(in: packet[..<count])) != nil
        }
        // A bundle may end behind its time tag, and behind each of its elements.
        #expect(complete == [16, 16 + 4 + Self.every.count])
        var accepted = 0
        for index in packet.indices {
            for byte in [0, 1, 0x2C, 0x7F, 0x80, 0xFF] as [UInt8] {
                var damaged = packet
                damaged[index] = byte
                do throws(OSCPacketError) {
                    accepted += try OSCMessage.messages(in: damaged).count
                } catch {
                    continue
                }
            }
        }
        // Bytes of numbers and texts may be anything.
        #expect(accepted > packet.count)
    }

    // MARK: - Patterns

    @Test(arguments: [
        ("/swan/prompt", "/swan/prompt", true), ("/swan/promp", "/swan/prompt", false),
        ("/swan/*", "/swan/prompt", true), ("/*", "/swan/prompt", false),
        ("/*/*", "/swan/prompt", true),
        ("/swan/p*t", "/swan/prompt", true), ("/swan/?rompt", "/swan/prompt", true),
        ("/swan/[n-q]rompt", "/swan/prompt", true), ("/swan/[!n-q]rompt", "/swan/prompt", false),
        ("/swan/{noise,seed}", "/swan/seed", true), ("/swan/{noise,seed}", "/swan/steps", false),
        ("/swan/weight/[1-3]", "/swan/weight/2", true), ("/swan/[", "/swan/[", false),
        ("/swan/{", "/swan/{", false), ("/swan/{,x}seed", "/swan/seed", true),
        ("/swan/**", "/swan/a", true),
    ])
    func patterns(pattern: String, address: String, matches: Bool) {
        #expect(OSCPattern.matches(pattern, address) == matches)
    }

    @Test func longPatternsAreNotCompared() {
        let pattern = "/" + String(repeating: "*a", count: 200)
        #expect(!OSCPattern.matches(pattern, "/" + String(repeating: "a", count: 200)))
    }

    // MARK: - Commands

    @Test func promptsHaveWeights() throws {
        #expect(try OSCCommand("prompt", [.text("a")]) == .prompts([.init("a")]))
        let mixed: [StreamChange.WeightedPrompt] = [.init("a"), .init("b", weight: 0.25)]
        #expect(
            try OSCCommand("prompts", [.text("a"), .text("b"), .number(0.25)]) == .prompts(mixed)
        )
        #expect(try OSCCommand("weights", [.number(1), .integer(2)]) == .weights([1, 2]))
        #expect(try OSCCommand("weight/8", [.number(-3)]) == .weight(index: 7, 0))
    }

    @Test func numbersOutOfRangeBecomeTheNearest() throws {
        var change = StreamChange()
        change.noiseScale = 1
        #expect(try OSCCommand("noise", [.number(4)]) == .change(change))
        change = StreamChange()
        change.steps = 1
        #expect(try OSCCommand("steps", [.number(-2.2)]) == .change(change))
        change = StreamChange()
        change.seed = 7
        #expect(try OSCCommand("seed", [.number(7.4)]) == .change(change))
        #expect(try OSCCommand("transition", [.integer(5_000)]) == .transition(1_000))
    }

    @Test func buttonsSendNumbersOrFlags() throws {
        var change = StreamChange()
        change.resets = true
        for values in [[], [.none], [.flag(true)], [.number(1)]] as [[OSCMessage.Value]] {
            #expect(try OSCCommand("reset", values) == .change(change))
        }
        #expect(try OSCCommand("reset", [.number(0)]) == .change(StreamChange()))
        #expect(try OSCCommand("pause", [.integer(1)]) == .pause(true))
    }

    @Test(
        arguments: [
            ("fly", [], .unknownAddress), ("weight/9", [.number(1)], .unknownAddress),
            ("weight", [.number(1)], .unknownAddress), ("prompt", [], .wrongValues),
            ("prompt", [.number(1)], .wrongValues), ("prompt", [.text("")], .wrongValues),
            ("prompts", [.text("a"), .text(" \n")], .wrongValues),
            ("prompt", [.text("a"), .number(0)], .wrongValues),
            ("noise", [.text("a")], .wrongValues), ("noise", [.number(.nan)], .wrongValues),
            ("steps", [.number(1e300)], .wrongValues),
            ("steps", [.integer(1), .integer(2)], .wrongValues),
            ("weights", [], .wrongValues),
        ] as [(String, [OSCMessage.Value], OSCCommand.Problem)]
    )
    func otherMessagesAreNoCommands(
        name: String,
        values: [OSCMessage.Value],
        problem: OSCCommand.Problem
    ) {
        #expect(throws: problem) { try OSCCommand(name, values) }
    }

    /// What was set for all sessions holds for each, until something else is set for it.
    @Test func aSessionHasThePromptsOfAll() {
        var memory = OSCMemory()
        #expect(memory.entry(of: "a").prompts == nil)
        memory.set(prompts: [.init("sepia")], of: nil)
        memory.set(transition: 3, of: "a")
        #expect(memory.entry(of: "a").prompts == [.init("sepia")])
        #expect(memory.entry(of: "a").transition == 3 && memory.entry(of: "b").transition == nil)
        memory.set(prompts: [.init("sepia", weight: 0.5)], of: "a")
        #expect(memory.entry(of: "b").prompts == [.init("sepia")])
        memory.keep(only: ["b"])
        #expect(memory.entry(of: "a").prompts == [.init("sepia")])
        memory.set(prompts: [.init("night")], of: "b")
        memory.set(prompts: [.init("neon")], of: nil)
        #expect(memory.entry(of: "b").prompts == [.init("neon")])
    }

    @Test(arguments: [
        ("9000", "127.0.0.1", 9_000), ("0.0.0.0:7", "0.0.0.0", 7), ("[::1]:9000", "::1", 9_000),
    ])
    func addressesHaveHosts(text: String, host: String, port: Int) {
        let address = OSCAddress(text)
        #expect(address?.host == host && address?.port == port)
    }

    @Test(arguments: ["", "65536", "host", "host:", ":1", "a b:1"])
    func otherTextsAreNoAddresses(text: String) { #expect(OSCAddress(text) == nil) }
}
