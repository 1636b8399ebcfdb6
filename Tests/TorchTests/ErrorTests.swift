import Foundation
import Testing
import Torch
import SwanSystem

struct ErrorTests {
    @Test func incompatibleShapes() throws {
        let (a, b) = (try Tensor.zeros([2, 3]), try Tensor.zeros([4]))
        let error = #expect(throws: SwanError.self) { try a + b }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains("The size of tensor a (3) must match") == true)
    }

    @Test func indicesOutOfRange() throws {
        let error = #expect(throws: SwanError.self) { try Tensor.zeros([2]).selected(0, 2) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains("out of range") == true)
    }

    @Test func incompatibleDTypes() throws {
        let (a, b) = (try Tensor.zeros([2, 2]), try Tensor.zeros([2, 2], .float64))
        let error = #expect(throws: SwanError.self) { try matmul(a, b) }
        #expect(error?.code == .invalidArgument)
    }

    @Test func messagesHaveNoBacktrace() throws {
        let error = #expect(throws: SwanError.self) { try Tensor.zeros([2]).reshaped(3) }
        #expect(error?.message.contains("frame #") == false)
        #expect(error?.message == error?.description)
    }

    @Test func unknownOperators() throws {
        let x = try Tensor.zeros([1])
        let error = #expect(throws: SwanError.self) { try Operator("aten::no_such", "Tensor")(x) }
        #expect(error?.code == .missingOperator)
        #expect(error?.message == "libtorch has no operator aten::no_such.Tensor")
    }

    @Test func wrongArguments() throws {
        let x = try Tensor.zeros([1])
        let sum = Operator("aten::add", "Tensor")
        #expect(throws: SwanError.self) { try sum(x) }
        #expect(throws: SwanError.self) { try sum(x, "text") }
        #expect(throws: SwanError.self) { try sum(x, x, 1.0, 2.0) }
        // Two results instead of one: neither leaks nor affects the next call.
        #expect(throws: SwanError.self) { try Operator("aten::sort")(x) }
        #expect(try sum(x, x).item() == 0)
    }

    @Test func reportsOutOfMemory() {
        let error = #expect(throws: SwanError.self) { try Tensor.empty([1 << 48], .float32) }
        #expect(error?.code == .outOfMemory)
        #expect(error?.message == "out of memory: could not allocate another 1125899907 MB")
    }

    @Test func sizesThatOverflow() {
        #expect(throws: SwanError.self) { try Tensor.empty([1 << 40, 1 << 40]) }
        #expect(throws: SwanError.self) { try Tensor.empty([-1]) }
    }
}

struct DeviceTests {
    @Test func names() throws {
        #expect(try Device(named: "cpu") == .cpu)
        #expect(Device.cpu.description == "cpu")
        #expect(Device.cuda(1).description == "cuda:1")
        let automatic = try Device(named: "auto")
        #expect(try automatic == (Engine.gpuCount() > 0 ? .cuda(0) : .cpu))
    }

    @Test(arguments: ["", "gpu", "CPU", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "mps"])
    func unknownNames(_ name: String) {
        let error = #expect(throws: SwanError.self) { try Device(named: name) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains("'\(name)'") == true)
    }

    @Test func missingGPUs() {
        let error = #expect(throws: SwanError.self) { try Device(named: "cuda:99") }
        #expect(error?.code == .deviceUnavailable)
    }

    @Test func engine() throws {
        #expect(Engine.version == "2.11.0")
        #expect(!Engine.cpuCapability.isEmpty)
        #expect(Engine.threads > 0)
        try Engine.synchronize(.cpu)
    }

    @Test func benchmarkMeasuresBothKindsOfCall() throws {
        let result = try OperatorBenchmark(iterations: 100, rounds: 2)
        #expect(result.direct > 0)
        #expect(result.called > 0)
        #expect(result.overhead == result.called - result.direct)
    }
}
