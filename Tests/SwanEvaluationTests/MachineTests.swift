import Testing

@testable import SwanEvaluation

struct MachineTests {
    @Test(arguments: [
        ("flags\t: fpu avx2 fma avx512f avx512_bf16", ["avx2", "fma", "avx512f", "avx512_bf16"]),
        ("flags\t: fpu avx2 fma f16c", ["avx2", "fma", "f16c"]),
        ("Features\t: fp asimd bf16", ["asimd", "bf16"]), ("", []),
    ])
    func readsTheProcessorAndItsInstructions(_ cpuInfo: String, _ expected: [String]) {
        let machine = Machine(cpuInfo: "processor\t: 0\nmodel name\t: Some CPU\n" + cpuInfo + "\n")
        #expect(machine.instructions == expected)
        #expect(machine.processor == "Some CPU")
    }
}
